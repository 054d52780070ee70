/** The longest tick, however slow the gateway is. Counts that change less often look frozen. */
const TICK_MAX_MS = 2_000;
/** In this time after the load has ended, the excess of a longer tick falls to a third. */
const RECOVERY_MS = 1_000;
/** The fraction of the time that writing frames may take. The rest is for operations and for clients that connect. */
const WRITING_TIME_MAX = 0.5;
const WINDOW_MS = 250;

/**
 * The tick stretches under load, so that no queue grows. Frames have the newest state, so viewers miss no final count.
 *
 * - If frames take more than half of the time, the tick grows in proportion.
 * - If other work takes the time, and viewers wait for their turn, the tick is as long as they wait.
 */
export class AdaptiveTick {
  #excessMs = 0;
  #atMs = 0;
  #windowMs = 0;
  #writingMs = 0;

  /** @param minMs TICK_MS, the tick of a gateway that keeps up */
  constructor(private readonly minMs: number) {}

  /** The minimal time between two frames of a viewer. */
  tickMs(nowMs: number): number {
    return this.minMs + this.#excess(nowMs);
  }

  /** Frames were written from `startMs` to `endMs`. */
  recordWriting(startMs: number, endMs: number): void {
    this.#writingMs += endMs - startMs;
    const elapsedMs = endMs - this.#windowMs;
    if (elapsedMs < WINDOW_MS) return;
    const writingTime = this.#writingMs / elapsedMs;
    if (writingTime > WRITING_TIME_MAX) this.#raiseTo(this.tickMs(endMs) * (writingTime / WRITING_TIME_MAX), endMs);
    this.#windowMs = endMs;
    this.#writingMs = 0;
  }

  /** All ready viewers have been written to, the last of them after `cycleMs`. */
  cycleTook(cycleMs: number, nowMs: number): void {
    this.#raiseTo(cycleMs, nowMs);
  }

  #raiseTo(tickMs: number, nowMs: number): void {
    const most = Math.max(0, TICK_MAX_MS - this.minMs);
    this.#excessMs = Math.min(most, Math.max(tickMs - this.minMs, this.#excess(nowMs)));
    this.#atMs = nowMs;
  }

  #excess(nowMs: number): number {
    if (this.#excessMs === 0) return 0;
    const left = this.#excessMs * Math.exp((this.#atMs - nowMs) / RECOVERY_MS);
    return left < 1 ? 0 : left;
  }
}
