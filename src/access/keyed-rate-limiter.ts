import type { Clock } from '../common/clock.js';

/** Keys that may owe at once: about 10 MB. Above that the oldest are forgotten, with their debts. */
const KEYS_MAX = 100_000;
const FORGET_AT_LEAST = 1_000;
/** With fewer keys no sweep removes the ones without debt. */
const SWEEP_MIN = 1_024;

/**
 * A rate with a burst for each of many keys, by the generic cell rate algorithm. It keeps one number for a key that has taken
 * something recently, and nothing for other keys.
 * https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
 */
export class KeyedRateLimiter {
  /** When a key has paid its debt, on the monotonic clock. */
  readonly #paidAtMs = new Map<string, number>();
  readonly #intervalMs: number;
  readonly #burstMs: number;
  #sweepAt = SWEEP_MIN;

  /** @param perSecond above 0 */
  constructor(
    private readonly clock: Clock,
    perSecond: number,
    burst: number,
  ) {
    this.#intervalMs = 1_000 / perSecond;
    this.#burstMs = burst * this.#intervalMs;
  }

  /** The number of keys that owe something, or did until recently. */
  get size(): number {
    return this.#paidAtMs.size;
  }

  /**
   * @param tokens those above the burst cost nothing
   * @returns 0 if the key may take this many; else the milliseconds until it may
   */
  waitMs(key: string, tokens = 1): number {
    const paidAtMs = this.#paidAtMs.get(key);
    if (paidAtMs === undefined) return 0;
    const excessMs = paidAtMs + this.#costMs(tokens) - this.#burstMs - this.clock.nowMs();
    return excessMs <= 0 ? 0 : Math.max(1, Math.ceil(excessMs));
  }

  /** @returns 0 if the tokens were taken; else the milliseconds until they can be */
  take(key: string, tokens = 1): number {
    const waitMs = this.waitMs(key, tokens);
    if (waitMs === 0) this.charge(key, tokens);
    return waitMs;
  }

  /** Takes tokens unconditionally. A key without tokens owes them, up to a burst. */
  charge(key: string, tokens = 1): void {
    const nowMs = this.clock.nowMs();
    const paidAtMs = Math.max(this.#paidAtMs.get(key) ?? 0, nowMs) + this.#costMs(tokens);
    if (!this.#paidAtMs.has(key)) this.#makeRoom(nowMs);
    this.#paidAtMs.set(key, Math.min(paidAtMs, nowMs + 2 * this.#burstMs));
  }

  #costMs(tokens: number): number {
    return Math.min(tokens * this.#intervalMs, this.#burstMs);
  }

  #makeRoom(nowMs: number): void {
    const keys = this.#paidAtMs;
    if (keys.size < this.#sweepAt) return;
    for (const [key, paidAtMs] of keys) if (paidAtMs <= nowMs) keys.delete(key);
    if (keys.size >= KEYS_MAX) {
      let excess = FORGET_AT_LEAST;
      for (const key of keys.keys()) {
        if (excess-- === 0) break;
        keys.delete(key);
      }
    }
    this.#sweepAt = Math.min(Math.max(2 * keys.size, SWEEP_MIN), KEYS_MAX);
  }
}
