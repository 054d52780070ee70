/**
 * A token bucket: `rate` tokens a second, with a burst of the same size unless given. A rate of 0 means no limit.
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
   * @param tokens at most the burst is taken, so that a client that waits for all of it can go on
   * @returns 0 if taken; else the milliseconds until the whole burst is back. A client that waits this long loses no
   * throughput, and everything that it sent before it got the rejection has arrived by then.
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

  /** Whether this many tokens could be taken now. */
  canTake(nowMs: number, tokens: number): boolean {
    if (this.rate === 0) return true;
    this.#refill(nowMs);
    return this.#tokens >= tokens;
  }

  isFull(nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#tokens >= this.burst;
  }

  #refill(nowMs: number): void {
    this.#tokens = Math.min(this.burst, this.#tokens + ((nowMs - this.#atMs) / 1000) * this.rate);
    this.#atMs = nowMs;
  }
}

/**
 * How long after its retry time a connection may resend the operation that was rejected first. Until then later operations are
 * rejected, too: the client sent them before it got the rejection.
 */
const RETRY_GRACE_MS = 5_000;
/** The wait for a later operation: the first one has arrived by then. */
const RETRY_LATER_MS = 100;
/** The `seq` of operations whose retries are not recognised. */
const NO_SEQ = 0;

/**
 * Limits the operations of one connection. After a rejection it rejects operations until the retry time, and then until the
 * first rejected operation arrives again. If a later one were admitted before it, the session's mark would pass the earlier
 * one, and the earlier one's retry would count as a duplicate. So the order of `seq` survives every rejection. Time alone does
 * not ensure it: a retry may arrive a millisecond early and be rejected while those behind it are admitted.
 */
export class OperationLimiter {
  #closedUntilMs = 0;
  /** The end of the wait for the first rejected operation. */
  #graceUntilMs = 0;
  /** The lowest `seq` that was rejected and not admitted since. */
  #firstRejected = Infinity;
  /** The highest admitted `seq`. A resent operation below it is a duplicate, rejected or not. */
  #highestAdmitted = 0;

  constructor(
    private readonly connection: TokenBucket,
    /** Shared by the connections of an address; `null` for exempt addresses. */
    private readonly address: TokenBucket | null,
  ) {}

  /**
   * @param tokens the cost of the operation; tokens above the burst of the connection or of the address cost nothing there
   * @param seq its number in the session, from 1; 0: its order does not matter
   * @returns 0 when admitted, else the milliseconds to wait.
   */
  admit(nowMs: number, tokens = 1, seq = NO_SEQ): number {
    if (nowMs < this.#closedUntilMs) {
      if (seq > this.#highestAdmitted) this.#reject(seq);
      return Math.ceil(this.#closedUntilMs - nowMs);
    }
    if (seq > this.#firstRejected && nowMs < this.#graceUntilMs) return RETRY_LATER_MS;
    const waitMs = this.connection.take(nowMs, tokens) || (this.address?.take(nowMs, tokens) ?? 0);
    if (waitMs > 0) this.block(nowMs, waitMs, seq > this.#highestAdmitted ? seq : NO_SEQ);
    else if (seq !== NO_SEQ) this.#admitted(seq);
    return waitMs;
  }

  /** Blocks the connection for `waitMs` for another reason. */
  block(nowMs: number, waitMs: number, seq = NO_SEQ): void {
    this.#closedUntilMs = Math.max(this.#closedUntilMs, nowMs + waitMs);
    this.#graceUntilMs = this.#closedUntilMs + RETRY_GRACE_MS;
    this.#reject(seq);
  }

  /** An admitted operation was not counted, or its outcome is unknown: its retry is no duplicate. */
  markFailed(seq: number): void {
    if (seq !== NO_SEQ) this.#highestAdmitted = Math.min(this.#highestAdmitted, seq - 1);
  }

  /** The gateway did not read the connection for this long. Time spent paused does not shorten a block. */
  excludePause(nowMs: number, forMs: number): void {
    const sinceMs = nowMs - forMs;
    if (this.#closedUntilMs > sinceMs) this.#closedUntilMs += forMs;
    if (this.#graceUntilMs > sinceMs) this.#graceUntilMs += forMs;
  }

  #reject(seq: number): void {
    if (seq !== NO_SEQ && seq < this.#firstRejected) this.#firstRejected = seq;
  }

  #admitted(seq: number): void {
    // One below it was admitted before and arrives again.
    if (seq >= this.#firstRejected) this.#firstRejected = Infinity;
    if (seq > this.#highestAdmitted) this.#highestAdmitted = seq;
  }
}
