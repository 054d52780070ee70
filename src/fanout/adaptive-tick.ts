/** No viewer waits longer between two frames, however slow the gateway is: that is as good as standing still. */
const TICK_MAX_MS = 2_000;
/** After the load is gone, a longer tick falls to a third of its excess in such a time. */
const RECOVERY_MS = 1_000;
/** The part of the time that writing frames may take. The rest is for operations and for clients that connect. */
const SHARE_MAX = 0.5;
const WINDOW_MS = 250;

/**
 * The tick, which stretches under load instead of queues growing: nothing queues, for frames tell the newest state.
 *
 * - Frames take more than half of the time: the tick grows by as much as they take too much.
 * - Other things take it, so that viewers wait for their turn: the tick is as long as they wait.
 */
export class AdaptiveTick {
  #excessMs = 0;
  #atMs = 0;
  #windowMs = 0;
  #writingMs = 0;

  /** @param leastMs TICK_MS, the tick of a gateway that keeps up */
  constructor(private readonly leastMs: number) {}

  /** Milliseconds from a viewer's frame to its next, at least. */
  tickMs(nowMs: number): number {
    return this.leastMs + this.#excess(nowMs);
  }

  /** Frames were written from `startMs` to `endMs`. */
  recordWriting(startMs: number, endMs: number): void {
    this.#writingMs += endMs - startMs;
    const elapsedMs = endMs - this.#windowMs;
    if (elapsedMs < WINDOW_MS) return;
    const share = this.#writingMs / elapsedMs;
    if (share > SHARE_MAX) this.#atLeast(this.tickMs(endMs) * (share / SHARE_MAX), endMs);
    this.#windowMs = endMs;
    this.#writingMs = 0;
  }

  /** All who were due have been written to, the last of them after `roundMs`. */
  cycleTook(roundMs: number, nowMs: number): void {
    this.#atLeast(roundMs, nowMs);
  }

  #atLeast(tickMs: number, nowMs: number): void {
    const most = Math.max(0, TICK_MAX_MS - this.leastMs);
    this.#excessMs = Math.min(most, Math.max(tickMs - this.leastMs, this.#excess(nowMs)));
    this.#atMs = nowMs;
  }

  #excess(nowMs: number): number {
    if (this.#excessMs === 0) return 0;
    const left = this.#excessMs * Math.exp((this.#atMs - nowMs) / RECOVERY_MS);
    return left < 1 ? 0 : left;
  }
}
