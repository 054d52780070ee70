/**
 * How long to wait before the next attempt: anything up to a limit that doubles with each failure ("full jitter"), so that
 * clients that lost a gateway together don't come back together.
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export class Backoff {
  #failures = 0;

  constructor(
    private readonly random: () => number,
    private readonly firstMs: number,
    private readonly mostMs: number,
  ) {}

  /** Milliseconds, from 0 up to the present limit. */
  next(): number {
    return this.random() * Math.min(this.mostMs, this.firstMs * 2 ** this.#failures++);
  }

  reset(): void {
    this.#failures = 0;
  }
}
