/** Times at which operations are due: the rate grows evenly over the ramp, then stays. */
export class Schedule {
  /** Number of operations within the ramp; not always whole. */
  readonly #inRamp: number;
  readonly total: number;

  constructor(
    /** Operations a second at the full rate. */
    private readonly rate: number,
    private readonly rampS: number,
    durationS: number,
  ) {
    this.#inRamp = (rate * rampS) / 2;
    this.total = Math.floor(this.#inRamp + rate * durationS);
  }

  /** @returns when operation `k` (0, 1, 2 …) is due, in ms since the start */
  dueMs(k: number): number {
    // While the rate grows, rate · t² / (2 · ramp) operations are due up to t.
    if (k < this.#inRamp) return 1_000 * Math.sqrt((2 * this.rampS * k) / this.rate);
    return 1_000 * (this.rampS + (k - this.#inRamp) / this.rate);
  }
}
