/** Pauses between attempts: doubled after each failure up to a maximum. */
export class Backoff {
  /** @param random from 0 to 1. It spreads the upper half of each pause, so that clients of one server do not all retry at once. */
  constructor(
    private readonly minMs: number,
    private readonly maxMs: number,
    private readonly random: () => number,
  ) {}

  /** @param failures in a row, from 1 */
  pauseMs(failures: number): number {
    const longestMs = Math.min(this.minMs * 2 ** (failures - 1), this.maxMs);
    return longestMs * (0.5 + this.random() / 2);
  }
}
