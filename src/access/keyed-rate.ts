import type { Clock } from '../common/clock.js';

/** Keys that may owe at once: about 10 MB. Beyond it the first are forgotten, and with them what they owe. */
const KEYS_MAX = 100_000;
const FORGET_AT_ONCE = 1_000;
/** Fewer keys are not looked through for those that owe nothing any more. */
const LOOK_THROUGH_MIN = 1_024;

/**
 * A rate for each of many keys, with a burst, by the generic cell rate algorithm. It keeps one number for a key that has
 * taken something lately, and nothing for any other: so it needs memory for what is being taken, not for who came by.
 * https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
 */
export class KeyedRateLimiter {
  /** When all that a key has taken is paid for, on the monotonic clock. */
  readonly #paidAtMs = new Map<string, number>();
  readonly #intervalMs: number;
  readonly #burstMs: number;
  #lookThroughAt = LOOK_THROUGH_MIN;

  /** @param perSecond above 0 */
  constructor(
    private readonly clock: Clock,
    perSecond: number,
    burst: number,
  ) {
    this.#intervalMs = 1_000 / perSecond;
    this.#burstMs = burst * this.#intervalMs;
  }

  /** Keys that owe something, and some that did until lately. */
  get size(): number {
    return this.#paidAtMs.size;
  }

  /**
   * @param tokens what is above the burst costs nothing
   * @returns 0 if the key may take this many; else the milliseconds until it may
   */
  waitMs(key: string, tokens = 1): number {
    const paidAtMs = this.#paidAtMs.get(key);
    if (paidAtMs === undefined) return 0;
    const excessMs = paidAtMs + this.#costMs(tokens) - this.#burstMs - this.clock.nowMs();
    return excessMs <= 0 ? 0 : Math.max(1, Math.ceil(excessMs));
  }

  /** @returns 0 when they were taken; else the milliseconds until they can be */
  take(key: string, tokens = 1): number {
    const waitMs = this.waitMs(key, tokens);
    if (waitMs === 0) this.charge(key, tokens);
    return waitMs;
  }

  /** Takes what was not asked for before. A key that has none left owes it, up to a burst. */
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
    if (keys.size < this.#lookThroughAt) return;
    for (const [key, paidAtMs] of keys) if (paidAtMs <= nowMs) keys.delete(key);
    if (keys.size >= KEYS_MAX) {
      let excess = FORGET_AT_ONCE;
      for (const key of keys.keys()) {
        if (excess-- === 0) break;
        keys.delete(key);
      }
    }
    this.#lookThroughAt = Math.min(Math.max(2 * keys.size, LOOK_THROUGH_MIN), KEYS_MAX);
  }
}
