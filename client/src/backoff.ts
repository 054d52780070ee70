/**
 * Waits before the next attempt: a random time up to a limit that doubles with each failure ("full jitter"), so that
 * clients that lost a gateway at the same time don't reconnect at the same time.
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export class Backoff {
  #failures = 0;

  constructor(
    private readonly random: () => number,
    private readonly firstMs: number,
    private readonly maxMs: number,
  ) {}

  /** @returns milliseconds, from 0 to the current limit */
  next(): number {
    return this.random() * Math.min(this.maxMs, this.firstMs * 2 ** this.#failures++);
  }

  reset(): void {
    this.#failures = 0;
  }
}
