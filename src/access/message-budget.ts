import { TokenBucket } from './rate-limit.js';

/**
 * The cost of messages, in units of some 10 µs of the event loop: one for each message, and more for one that is rejected.
 * A client that obeys `retryAfterMs` may cause RATE_LIMITED; no client needs to cause the others.
 */
export const MESSAGE_COST = 1;
export const RATE_LIMITED_COST = 1;
export const INVALID_COST = 4;
/** A request of long-polling, and one that begins a connection: they take as long as dozens of messages. */
export const REQUEST_COST = 30;
export const CONNECT_COST = 100;
/** Bytes that cost a unit where packets are not counted singly: in a request's body, and in frames that `ws` reads. */
export const BODY_BYTES_PER_UNIT = 64;
export const FRAME_BYTES_PER_UNIT = 16;

/** Units for each operation that is allowed a second: for it, its retries and other messages. */
const UNITS_PER_OPERATION = 10;
/** Units a second, at least: of a connection, and of an address. Rejecting all of them takes about 2 % and 10 % of a core. */
const CONNECTION_RATE_MIN = 2_000;
export const ADDRESS_RATE_MIN = 10_000;
/**
 * The seconds whose units a connection and an address may use at once: a client that sends 10,000 operations at a time, and
 * is rejected for nearly all of them, is still read without a pause. It is a fifth of a second of the event loop, taken in many turns.
 */
const CONNECTION_BURST_S = 10;
export const ADDRESS_BURST_S = 2;
/** Units that a connection takes from its buckets at a time, so that most messages cost a decrement. */
const GRANT = 32;
/** The largest debt of a connection: it waits for a second or two, not for minutes. */
const DEBT_MAX = 2_000;

/** @param operations a second; 0: no limit, so there is none for messages either */
export function toMessageRate(operations: number, min: number): number {
  return operations === 0 ? 0 : Math.max(min, operations * UNITS_PER_OPERATION);
}

/** The units of one connection, from its own token bucket and from its address's. */
export class MessageBudget {
  readonly #own: TokenBucket;

  /**
   * @param operations of the connection a second; 0: no limit
   * @param address shared by all connections of an address; `null` for exempt addresses
   */
  constructor(
    operations: number,
    private readonly address: TokenBucket | null,
    nowMs: number,
  ) {
    const rate = toMessageRate(operations, CONNECTION_RATE_MIN);
    this.#own = new TokenBucket(rate, nowMs, rate * CONNECTION_BURST_S);
  }

  /**
   * @param credit units that are left; below 0 when more were used than there were
   * @returns units for the next messages; 0 if there are none at present, and nothing was taken
   */
  renew(nowMs: number, credit: number): number {
    const units = GRANT + Math.min(Math.max(-credit, 0), DEBT_MAX);
    if (!this.#own.canTake(nowMs, units) || this.address?.canTake(nowMs, units) === false) return 0;
    this.#own.take(nowMs, units);
    this.address?.take(nowMs, units);
    return GRANT;
  }
}
