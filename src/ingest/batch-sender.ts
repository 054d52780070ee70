import { Backoff } from '../common/backoff.js';
import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import type { Batch, CommitResult } from '../counters/batch.js';
import type { Operation } from '../counters/operation.js';
import type { CounterStore } from '../store/counter-store.js';
import type { RetainedBatch, BucketQueue, OpenBatch } from './bucket-queue.js';
import { ageMs, type Instant, readInstant } from './instant.js';
import type { PendingOperation } from './pending-operation.js';
import { RetainedBatches } from './retained-batches.js';

/** Pauses between two sendings of a batch that the store did not commit. */
const RETRY_MIN_MS = 25;
const RETRY_MAX_MS = 1_000;
/** A store keeps a fence for an hour after the last batch of its incarnation; half of that is for clocks that err. */
const FENCE_TRUST_MS = 30 * 60_000;
/** Marks are kept for an hour at least (MARK_GENERATION_MS). */
const MARKS_TRUST_MS = 50 * 60_000;

export type AppliedResult = Extract<CommitResult, { kind: 'applied' }>;
type Refused = Exclude<CommitResult, AppliedResult>;

export interface BatchSenderOptions {
  /** Wall time that batches are stamped with, ms since 1970: guarded against jumps, unlike that of the clock. */
  readonly batchTimeMs: () => number;
  /** 64 random bits, others at each call. */
  readonly newProducerId: () => string;
  /** Told what an operator should know, once. */
  readonly warn: (message: string) => void;
}

/** A batch that the store is not known to have. */
interface Sending {
  readonly batch: Batch;
  /** The operations that wait for it; `null` for a batch that was confirmed before. */
  readonly asked: OpenBatch | null;
  /** When its operations were first sent, … */
  since: Instant | null;
  /** … and when under this number. */
  numbered: Instant | null;
}

/**
 * Brings a lane's batches to the store, in order, each once:
 *
 *            ┌───────────── rejected: outcome unknown. After a pause the same again ──────────┐
 *            ▼                                                                                │
 *     send (incarnation, n) ──▶ applied: confirmed, and retained ──▶ the next, or done        │
 *            │                                                                                │
 *            ├──▶ gap(last): the store has a shorter history than it had.                     │
 *            │       retained last+1 … n-1 are all there: these first, then n ────────────────┤
 *            │       else: what is left of them, then n, under a new incarnation ─────────────┤
 *            └──▶ stale(last): the store has more than that.
 *                    last was sent: it came late, into the place that was filled for it; on from there ───┤
 *                    else: the outcome of n will never be known, abandoned; a new incarnation for the next
 *
 * A new incarnation gives operations other numbers, under which their old ones do not stop them. That is safe for those
 * only of which the store has said that it lacks them, as `gap` does: its history has nothing after `last`. But gap(0),
 * like a batch 1 that is taken, may also come from a store that has forgotten the fence. If the first sending is that
 * long ago, those operations go on that have a session, for its mark decides, while marks are kept; the outcome of the
 * others will never be known, and they are abandoned: counting twice is the worse error.
 */
export class BatchSender {
  readonly retained: RetainedBatches;
  readonly #backoff: Backoff;
  /** Since boot. */
  readonly stats = {
    /** Sendings that did not end with `applied`. */
    retries: 0,
    /** Confirmed batches that the store had lost and that changed it when they were sent again. */
    replayedBatches: 0,
    /** Confirmed batches that the store lacks and that were not retained any more. */
    lostBatches: 0,
    /** Operations that were sent, and of which it will never be known whether they were counted. */
    unconfirmedOperations: 0,
  };

  /** @param abandon given operations whose outcome will never be known, and whose clients have not been answered */
  constructor(
    private readonly store: CounterStore,
    private readonly clock: Clock,
    random: () => number,
    private readonly options: BatchSenderOptions,
    private readonly abandon: (operations: readonly PendingOperation[]) => void,
  ) {
    this.#backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, random);
    this.retained = new RetainedBatches(clock, store.replayWindowMs, () => store.allReachable);
  }

  /** Sends the operations as the lane's next batch. `null` if all of them were abandoned; if some were, `asked` has the others. */
  send(lane: BucketQueue, asked: OpenBatch): Promise<AppliedResult | null> {
    lane.batchNumber += 1;
    const { bucket, producerId, batchNumber } = lane;
    const batch = { bucket, producerId, batchNumber, atMs: this.options.batchTimeMs(), operations: asked.operations };
    return this.#deliver(lane, [{ batch, asked, since: null, numbered: null }]);
  }

  /** The store was away. What the lane retains stays until something that was sent since is confirmed. */
  suspect(lane: BucketQueue): void {
    lane.needsVerification = true;
    this.retained.pin(lane);
  }

  /** Sends the lane's last batch again: the answer tells whether the store still has it and all before. */
  async verifyHistory(lane: BucketQueue): Promise<void> {
    lane.needsVerification = false;
    const last = this.retained.takeAfter(lane, lane.batchNumber - 1).map(again);
    if (last.some((sending) => this.#inDoubt(sending))) this.retained.discard(lane);
    else await this.#deliver(lane, last);
  }

  async #deliver(lane: BucketQueue, batches: readonly Sending[]): Promise<AppliedResult | null> {
    let answer: AppliedResult | null = null;
    let failures = 0;
    let left = batches;
    while (left.length > 0) {
      if (left[0]!.batch.batchNumber === 1 && this.#inDoubt(left[0]!)) left = this.#fill(lane, left, 0);
      const [head] = left;
      if (head === undefined) break;
      const result = await this.#commit(lane, head);
      if (result?.kind === 'applied') {
        this.#confirm(lane, head.batch);
        if (head.asked !== null) answer = result;
        else if (result.changed.length > 0) this.stats.replayedBatches += 1;
        left = left.slice(1);
        continue;
      }
      this.stats.retries += 1;
      this.retained.pin(lane);
      if (result !== null) left = this.#heal(lane, left, result);
      failures += 1;
      await sleep(this.clock, this.#backoff.pauseMs(failures));
    }
    if (!lane.needsVerification) this.retained.unpin(lane);
    return answer;
  }

  async #commit(lane: BucketQueue, sending: Sending): Promise<CommitResult | null> {
    // Before it is sent: if the store goes away now and returns, an answer from before says nothing.
    lane.needsVerification = false;
    const now = readInstant(this.clock);
    sending.since ??= now;
    sending.numbered ??= now;
    try {
      return await this.store.commit(sending.batch);
    } catch {
      // Unknown outcome: the fence makes sending it again safe, and `available` tells the operator.
      return null;
    }
  }

  #heal(lane: BucketQueue, left: readonly Sending[], { kind, last }: Refused): readonly Sending[] {
    const { batchNumber: n } = left[0]!.batch;
    if (kind === 'gap' && last < n - 1) return this.#fill(lane, left, last);
    if (kind === 'stale' && last > n) return this.#skip(lane, left, last);
    // No history answers so. Sent again, like after any failure.
    return left;
  }

  /** The store has nothing of the incarnation after `last`. */
  #fill(lane: BucketQueue, left: readonly Sending[], last: number): readonly Sending[] {
    const missing = [...this.retained.takeAfter(lane, last).map(again), ...left];
    const lost = missing[0]!.batch.batchNumber - last - 1;
    const doubtful = new Set(last === 0 ? missing.filter((sending) => this.#inDoubt(sending)) : []);
    if (lost === 0 && doubtful.size === 0) return missing;
    const idleMs = lane.lastCommitAt === null ? Infinity : ageMs(this.clock, lane.lastCommitAt);
    if (last > 0 || idleMs <= FENCE_TRUST_MS) this.#lose(lost);
    const sure = missing.flatMap((sending) => (doubtful.has(sending) ? this.#onlyMarked(sending) : [sending]));
    return this.#renumber(lane, sure);
  }

  /**
   * The store has all of the incarnation up to `last`. While batches are sent again, one after them that was sent before
   * may arrive late and find its place: then all before it are there, and it is asked for its outcomes. A number that
   * was never sent means that somebody else uses the incarnation (a machine that was cloned): nothing is known then.
   */
  #skip(lane: BucketQueue, left: readonly Sending[], last: number): readonly Sending[] {
    if (last <= left.at(-1)!.batch.batchNumber) {
      for (const { batch } of left) if (batch.batchNumber < last) this.#confirm(lane, batch);
      return left.filter(({ batch }) => batch.batchNumber >= last);
    }
    for (const sending of left) this.#reduce(sending, () => false);
    return this.#renumber(lane, []);
  }

  #confirm(lane: BucketQueue, batch: Batch): void {
    lane.lastCommitAt = readInstant(this.clock);
    this.retained.retain(lane, batch, lane.lastCommitAt);
  }

  #renumber(lane: BucketQueue, sendings: readonly Sending[]): readonly Sending[] {
    this.retained.discard(lane);
    lane.producerId = this.options.newProducerId();
    lane.batchNumber = sendings.length;
    const { producerId } = lane;
    return sendings.map(({ batch, asked, since }, i) => {
      return { batch: { ...batch, producerId, batchNumber: i + 1 }, asked, since, numbered: null };
    });
  }

  /** Whether the store may have had it and forgotten its fence. */
  #inDoubt({ numbered }: Sending): boolean {
    return numbered !== null && ageMs(this.clock, numbered) > FENCE_TRUST_MS;
  }

  #onlyMarked(sending: Sending): Sending[] {
    const marked = ageMs(this.clock, sending.since!) <= MARKS_TRUST_MS;
    return this.#reduce(sending, ({ session }) => marked && session !== null);
  }

  /** Abandons the operations that do not stay. @returns the batch of those that do, if there are any */
  #reduce(sending: Sending, stays: (operation: Operation) => boolean): Sending[] {
    const { batch, asked } = sending;
    const operations = batch.operations.filter(stays);
    this.stats.unconfirmedOperations += batch.operations.length - operations.length;
    if (asked !== null) this.abandon(asked.keepOnly(stays));
    return operations.length === 0 ? [] : [{ ...sending, batch: { ...batch, operations } }];
  }

  #lose(batches: number): void {
    if (batches > 0 && this.stats.lostBatches === 0) {
      this.options.warn(
        'the store came back without batches that it had confirmed and that are not kept here any more: ' +
          'what they counted is lost (from now on see tallycast_lost_batches_total)',
      );
    }
    this.stats.lostBatches += batches;
  }
}

function again({ batch, committedAt: confirmed }: RetainedBatch): Sending {
  return { batch, asked: null, since: confirmed, numbered: confirmed };
}
