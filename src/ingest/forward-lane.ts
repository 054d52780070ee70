import { type ForwardedOperation, OPERATIONS_PER_CALL_MAX } from '../counters/replication/forwarded-operation.js';
import type { Forwarding } from './forwarding.js';

/** Operations that wait for a call, in each lane: some seconds of what a far region can do. */
const WAITING_MAX = 5_000;

/** An operation that waits for another region, or is on its way to it. */
export interface Forwarded {
  readonly operation: ForwardedOperation;
}

/** Calls to one region, one at a time, so that operations of a session arrive in order. */
export class ForwardLane<T extends Forwarded> {
  #waiting: T[] = [];
  #isCalling = false;

  /**
   * @param done is called with all operations of a call and their outcomes; `null`: the region did not answer, so they are unknown. Each
   * that was added is done once, unless it is withdrawn.
   */
  constructor(
    private readonly forwarding: Forwarding,
    readonly region: string,
    private readonly done: (sent: readonly T[], outcomes: readonly number[] | null) => void,
  ) {}

  /** @returns whether there is room for it */
  add(forwarded: T): boolean {
    if (this.#waiting.length >= WAITING_MAX) return false;
    this.#waiting.push(forwarded);
    if (!this.#isCalling) void this.#call();
    return true;
  }

  /** Removes those that have not left yet. @returns them */
  withdraw(isOne: (forwarded: T) => boolean): T[] {
    const withdrawn = this.#waiting.filter(isOne);
    if (withdrawn.length > 0) this.#waiting = this.#waiting.filter((one) => !isOne(one));
    return withdrawn;
  }

  async #call(): Promise<void> {
    this.#isCalling = true;
    // All that one batch adds leave in one call.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const sent = this.#waiting.slice(0, OPERATIONS_PER_CALL_MAX);
      this.#waiting = this.#waiting.slice(sent.length);
      const operations = sent.map(({ operation }) => operation);
      const outcomes = await this.forwarding.forward(this.region, operations).catch(() => null);
      this.done(sent, outcomes?.length === sent.length ? outcomes : null);
    }
    this.#isCalling = false;
  }
}
