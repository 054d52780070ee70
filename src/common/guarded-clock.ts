import type { Clock, Timer } from './clock.js';

/** Larger steps of the wall clock are not followed at once. NTP corrects small errors by slewing, or by smaller steps. */
export const JUMP_MAX_MS = 60_000;
/** A jump that lasts this long is followed: the machine slept, or its clock was corrected. */
export const FOLLOW_AFTER_MS = 180_000;

interface Jump {
  /** How far the wall clock is ahead of the time that has passed; negative: behind. */
  readonly aheadMs: number;
  /** When the jump was noticed, on the monotonic clock. */
  readonly sinceMs: number;
}

/**
 * The clock that stamps data. Stamps order the operations of all regions and never go back, so that one from a wrong clock silences a
 * region until that time has come. Between two readings of the wall clock the monotonic clock says how much time has passed; a wall
 * clock that has moved further, or back, is not followed until the jump has lasted.
 *
 *     wall      ──────╱‾‾‾‾‾‾‾╲──────── an error of ten seconds       ──────╱‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾ a machine that slept
 *     guarded   ───────────────────────                               ─────────────────╱‾‾‾
 *                                                                           ├ FOLLOW ──┤
 *
 * The first reading is trusted. A reading costs two clocks, and allocates nothing while they agree.
 */
export class GuardedClock implements Clock {
  #wallMs: number;
  /** The same moment on the monotonic clock. */
  #atMs: number;
  #jump: Jump | null = null;
  #warnedAtMs = -Infinity;

  /** @param warn called for a jump, at most once in FOLLOW_AFTER_MS */
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
    if (isJump && !this.#hasLasted(aheadMs, nowMs)) return expectedMs;
    if (this.#jump !== null) {
      this.#jump = null;
      if (isJump)
        this.warn(
          `following the wall clock: it has been ${describeOffset(aheadMs)} for ${formatMinutes(FOLLOW_AFTER_MS)}`,
        );
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

  #hasLasted(aheadMs: number, nowMs: number): boolean {
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
      `the wall clock jumped and is ${describeOffset(aheadMs)}; data is stamped by the monotonic clock instead; ` +
        `the wall clock is followed if the jump lasts ${formatMinutes(FOLLOW_AFTER_MS)}; if it is wrong, correct it (NTP)`,
    );
  }
}

function describeOffset(aheadMs: number): string {
  return `${formatMinutes(Math.abs(aheadMs))} ${aheadMs > 0 ? 'ahead' : 'behind'}`;
}

function formatMinutes(ms: number): string {
  return `${Math.round(ms / 60_000)} minutes`;
}
