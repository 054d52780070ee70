/** The wait after an error that asks for one. */
export const RETRY_MS = 200;
const RETRY_LATER_MS = 100;
const GRACE_MS = 5_000;

/** The rule of a connection that nothing overtakes a rejected operation (docs/decisions/0025-wait-for-the-first-rejected-operation.md). */
export class RejectedOperations {
  #closedUntilMs = 0;
  #first = Infinity;

  /** @returns the milliseconds to wait; 0 if it is admitted */
  admit(nowMs: number, seq: number): number {
    if (nowMs < this.#closedUntilMs) {
      this.#first = Math.min(this.#first, seq);
      return this.#closedUntilMs - nowMs;
    }
    if (seq > this.#first && nowMs < this.#closedUntilMs + GRACE_MS) return RETRY_LATER_MS;
    if (seq >= this.#first) this.#first = Infinity;
    return 0;
  }

  block(nowMs: number, seq: number): void {
    this.#closedUntilMs = nowMs + RETRY_MS;
    this.#first = Math.min(this.#first, seq);
  }
}
