import type { Clock, Timer } from './clock.js';

/** Larger steps of the wall clock are not followed at once. NTP sets small errors right by slewing, or by smaller steps. */
export const JUMP_MAX_MS = 60_000;
/** A jump that lasts this long was meant: a machine that slept, or a clock that was set right. */
export const FOLLOW_AFTER_MS = 180_000;

interface Jump {
  /** By how much the wall clock is ahead of the time that has passed; negative: behind. */
  readonly aheadMs: number;
  /** Since when, on the monotonic clock. */
  readonly sinceMs: number;
}

/**
 * The clock by which data is stamped. Stamps order what people do in all regions, and never go back, so that one that was taken from
 * a wrong clock silences a region until that time has come. Between two readings of the wall clock the monotonic one says how much
 * time has passed; a wall clock that has gone further, or back, is not followed until it has stayed so.
 *
 *     wall      ──────╱‾‾‾‾‾‾‾╲──────── an error of ten seconds       ──────╱‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾ a machine that slept
 *     guarded   ───────────────────────                               ─────────────────╱‾‾‾
 *                                                                           ├ FOLLOW ──┤
 *
 * The first reading is believed. A reading costs two clocks, and allocates nothing while they agree.
 */
export class GuardedClock implements Clock {
  #wallMs: number;
  /** When that was so, on the monotonic clock. */
  #atMs: number;
  #jump: Jump | null = null;
  #warnedAtMs = -Infinity;

  /** @param warn told of a jump, once in FOLLOW_AFTER_MS at most */
  constructor(
    private readonly clock: Clock,
    private readonly warn: (message: string) => void,
  ) {
    this.#wallMs = clock.wallMs();
    this.#atMs = clock.nowMs();
  }

  wallMs(): number {
    const wallMs = this.clock.wallMs();
    const nowMs = this.clock.nowMs();
    const expectedMs = Math.floor(this.#wallMs + nowMs - this.#atMs);
    const aheadMs = wallMs - expectedMs;
    const isJump = Math.abs(aheadMs) > JUMP_MAX_MS;
    if (isJump && !this.#isMeant(aheadMs, nowMs)) return expectedMs;
    if (this.#jump !== null) {
      this.#jump = null;
      if (isJump)
        this.warn(`the wall clock is followed: it has been ${textOf(aheadMs)} for ${minutesOf(FOLLOW_AFTER_MS)}`);
    }
    this.#wallMs = wallMs;
    this.#atMs = nowMs;
    return wallMs;
  }

  nowMs(): number {
    return this.clock.nowMs();
  }

  after(ms: number, call: () => void): Timer {
    return this.clock.after(ms, call);
  }

  soon(call: () => void): void {
    this.clock.soon(call);
  }

  #isMeant(aheadMs: number, nowMs: number): boolean {
    if (this.#jump === null || Math.abs(aheadMs - this.#jump.aheadMs) > JUMP_MAX_MS) {
      this.#jump = { aheadMs, sinceMs: nowMs };
      this.#warn(aheadMs, nowMs);
    }
    return nowMs - this.#jump.sinceMs >= FOLLOW_AFTER_MS;
  }

  #warn(aheadMs: number, nowMs: number): void {
    if (nowMs - this.#warnedAtMs < FOLLOW_AFTER_MS) return;
    this.#warnedAtMs = nowMs;
    this.warn(
      `the wall clock jumped and is ${textOf(aheadMs)}: data is stamped by the time that has passed instead, and the wall clock ` +
        `is followed if it stays so for ${minutesOf(FOLLOW_AFTER_MS)}; if it is wrong, set it right (NTP)`,
    );
  }
}

function textOf(aheadMs: number): string {
  return `${minutesOf(Math.abs(aheadMs))} ${aheadMs > 0 ? 'ahead' : 'behind'}`;
}

function minutesOf(ms: number): string {
  return `${Math.round(ms / 60_000)} minutes`;
}
