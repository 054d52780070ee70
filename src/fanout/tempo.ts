/** No viewer waits longer between two frames, however slow the gateway is: that is as good as standing still. */
const TICK_MAX_MS = 2_000;
/** After the load is gone, a longer tick falls to a third of its excess in such a time. */
const RECOVERY_MS = 500;

/**
 * The tick, which stretches when viewers are written to more slowly than they come due.
 *
 *     written to   ├───all: a round───┤                    ├──────
 *     cooling                         ├────── tick ≥ round ┤
 *
 * A tick is at least as long as the last rounds took. So at most half of the time goes to frames, whatever the number of
 * viewers; the rest is for operations and for those who connect. Nothing queues meanwhile: frames tell the newest state.
 */
export class Tempo {
  #excessMs = 0;
  #atMs = 0;

  /** @param leastMs TICK_MS, the tick of a gateway that keeps up */
  constructor(private readonly leastMs: number) {}

  /** Milliseconds from a viewer's frame to its next, at least. */
  tickMs(nowMs: number): number {
    return this.leastMs + this.#excess(nowMs);
  }

  /** All that were due at its beginning have been written to, which took `roundMs`. */
  round(roundMs: number, nowMs: number): void {
    const most = Math.max(0, TICK_MAX_MS - this.leastMs);
    this.#excessMs = Math.min(most, Math.max(0, roundMs - this.leastMs, this.#excess(nowMs)));
    this.#atMs = nowMs;
  }

  #excess(nowMs: number): number {
    if (this.#excessMs === 0) return 0;
    const left = this.#excessMs * Math.exp((this.#atMs - nowMs) / RECOVERY_MS);
    return left < 1 ? 0 : left;
  }
}
