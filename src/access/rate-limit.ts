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
   * @returns 0 when taken; else the milliseconds until the whole burst is back. A client that waits this long loses no
   * throughput, and everything that it had sent before it heard of the rejection has arrived by then.
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
 * How much longer than it was told a connection may take until the operation that was rejected first comes again. Until then
 * later ones are rejected, too: they were sent before the client knew.
 */
const RETRY_GRACE_MS = 5_000;
/** A later operation is asked to wait this long: the first one has come by then. */
const RETRY_LATER_MS = 100;
/** The `seq` of operations whose retries are not recognised. */
const NO_SEQ = 0;

/**
 * The operations that one connection may send. Once it is rejected, it is rejected until the time it was told, and then until the first
 * operation that was rejected comes again: if a later one were let through before it, the session's mark would pass the
 * earlier one, and its retry would be taken for a duplicate. So the order of `seq` survives every rejection. Time alone
 * does not ensure it: a retry may come a millisecond early, and be rejected while those behind it are let through.
 */
export class OperationLimiter {
  #closedUntilMs = 0;
  /** Until when the first rejected operation is waited for. */
  #graceUntilMs = 0;
  /** The lowest `seq` that was rejected and has not been let through since. */
  #firstRejected = Infinity;
  /** The highest `seq` that was let through: what comes again below it is no news, whether it is rejected or not. */
  #highestAdmitted = 0;

  constructor(
    private readonly connection: TokenBucket,
    /** Shared by the connections of an address; `null` where the address is spared. */
    private readonly address: TokenBucket | null,
  ) {}

  /**
   * @param tokens what the operation costs; what is above the burst of the connection or of the address costs nothing there
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

  /** The connection was rejected for another reason, and told to come back after `waitMs`. */
  block(nowMs: number, waitMs: number, seq = NO_SEQ): void {
    this.#closedUntilMs = Math.max(this.#closedUntilMs, nowMs + waitMs);
    this.#graceUntilMs = this.#closedUntilMs + RETRY_GRACE_MS;
    this.#reject(seq);
  }

  /** An operation that was let through was not counted, or nobody knows whether it was: its retry is news again. */
  markFailed(seq: number): void {
    if (seq !== NO_SEQ) this.#highestAdmitted = Math.min(this.#highestAdmitted, seq - 1);
  }

  /** The connection was not read for this long: what was on its way when it was rejected is still to come. */
  excludePause(nowMs: number, forMs: number): void {
    const sinceMs = nowMs - forMs;
    if (this.#closedUntilMs > sinceMs) this.#closedUntilMs += forMs;
    if (this.#graceUntilMs > sinceMs) this.#graceUntilMs += forMs;
  }

  #reject(seq: number): void {
    if (seq !== NO_SEQ && seq < this.#firstRejected) this.#firstRejected = seq;
  }

  #admitted(seq: number): void {
    // One below it was let through before, and comes again.
    if (seq >= this.#firstRejected) this.#firstRejected = Infinity;
    if (seq > this.#highestAdmitted) this.#highestAdmitted = seq;
  }
}
