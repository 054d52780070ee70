/**
 * A token bucket: `rate` a second, with a burst of as many unless said otherwise. A rate of 0 is no limit.
 * https://en.wikipedia.org/wiki/Token_bucket
 */
export class TokenBucket {
  #tokens: number;
  #atMs: number;

  constructor(
    readonly rate: number,
    nowMs: number,
    readonly burst: number = rate,
  ) {
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /**
   * @param tokens at most the burst is taken, so that whoever waits for all of it can go on
   * @returns 0 when taken; else the milliseconds until the whole burst is back. A client that waits so long loses no
   * throughput, and what it had sent before it heard of the refusal has arrived by then.
   */
  take(nowMs: number, tokens = 1): number {
    if (this.rate === 0) return 0;
    this.#refill(nowMs);
    const cost = Math.min(tokens, this.burst);
    if (this.#tokens >= cost) {
      this.#tokens -= cost;
      return 0;
    }
    return Math.max(1, Math.ceil(((this.burst - this.#tokens) / this.rate) * 1000));
  }

  /** Whether as many could be taken now. */
  has(nowMs: number, tokens: number): boolean {
    if (this.rate === 0) return true;
    this.#refill(nowMs);
    return this.#tokens >= tokens;
  }

  full(nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#tokens >= this.burst;
  }

  #refill(nowMs: number): void {
    this.#tokens = Math.min(this.burst, this.#tokens + ((nowMs - this.#atMs) / 1000) * this.rate);
    this.#atMs = nowMs;
  }
}

/**
 * What one connection may do. Once it is refused, it is refused until the time it was told: if a later operation
 * were let through before an earlier one that was refused, the session's mark would pass the earlier one, and its
 * retry would be taken for a duplicate. So the order of `seq` survives every refusal.
 */
export class OperationLimit {
  #closedUntilMs = 0;

  constructor(
    private readonly connection: TokenBucket,
    /** Shared by the connections of an address; `null` where the address is spared. */
    private readonly address: TokenBucket | null,
  ) {}

  /**
   * @param tokens what the operation costs; what is above the burst of the connection or of the address costs nothing there
   * @returns 0 when admitted, else the milliseconds to wait.
   */
  admit(nowMs: number, tokens = 1): number {
    if (nowMs < this.#closedUntilMs) return Math.ceil(this.#closedUntilMs - nowMs);
    const waitMs = this.connection.take(nowMs, tokens) || (this.address?.take(nowMs, tokens) ?? 0);
    if (waitMs > 0) this.close(nowMs, waitMs);
    return waitMs;
  }

  /** The connection was refused for another reason, and told to come back after `waitMs`. */
  close(nowMs: number, waitMs: number): void {
    this.#closedUntilMs = Math.max(this.#closedUntilMs, nowMs + waitMs);
  }

  /** The connection was not read for so long: what was on its way when it was refused is still to come. */
  unread(nowMs: number, forMs: number): void {
    if (this.#closedUntilMs > nowMs - forMs) this.#closedUntilMs += forMs;
  }
}
