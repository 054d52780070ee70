import { Backoff } from '../common/backoff.js';
import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import type { Batch, CommitResult } from '../counters/batch.js';
import { ELSEWHERE, type Operation } from '../counters/operation.js';
import type { CounterStore } from '../store/counter-store.js';
import type { RetainedBatch, BucketQueue, OpenBatch } from './bucket-queue.js';
import { ageMs, type Instant, readInstant } from './dual-clock-instant.js';
import type { PendingOperation } from './pending-operation.js';
import { RetainedBatches } from './retained-batches.js';

/** Pauses between two sendings of a batch that the store did not commit. */
const RETRY_MIN_MS = 25;
const RETRY_MAX_MS = 1_000;
/** A store keeps a producer's state for an hour after its last batch. Half of that, to allow for clock error. */
const PRODUCER_STATE_TRUST_MS = 30 * 60_000;
/** A session's high-water mark is kept for at least an hour (MARK_GENERATION_MS). */
const MARKS_TRUST_MS = 50 * 60_000;

/**
 * A replay that might reach a milestone waits this long for its region to know that it decides: the regions need a few exchanges. Then what
 * would reach it is dropped, because all else in the bucket waits behind it, and in a cut that would be for as long as the cut.
 */
const UNDECIDED_MAX_MS = 10_000;

export type AppliedResult = Extract<CommitResult, { kind: 'applied' }>;
type RejectedResult = Exclude<CommitResult, AppliedResult>;

export interface BatchSenderOptions {
  /** Wall time of batches, ms since 1970. Guarded against jumps, unlike that of the clock. */
  readonly batchTimeMs: () => number;
  /** Creates a producer id: 64 new random bits. */
  readonly newProducerId: () => string;
  /** Logs a warning to the operator, once. */
  readonly warn: (message: string) => void;
}

/** A batch that the store may not have. */
interface Sending {
  readonly batch: Batch;
  /** The operations that wait for the result; `null` for a batch that was committed before. */
  readonly waiters: OpenBatch | null;
  /** When its operations were first sent under any number. */
  firstSentAt: Instant | null;
  /** When they were first sent under the current number. */
  numberedAt: Instant | null;
  /** When the store first said that it cannot decide yet. */
  undecidedSince?: Instant;
}

/**
 * Sends a queue's batches to the store, in order, so that each is applied once:
 *
 *            ┌───────────── rejected: outcome unknown. After a pause the same again ──────────┐
 *            ▼                                                                                │
 *     send (producerId, n) ──▶ applied: committed, and retained ──▶ the next, or done         │
 *            │                                                                                │
 *            ├──▶ undecided: a replay; after a pause the same again ──────────────────────────┤
 *            ├──▶ gap(last): the store's history is shorter than it was.                      │
 *            │       retained last+1 … n-1 are complete: replay them, then n ─────────────────┤
 *            │       otherwise: those that are left, then n, under a new producer id ─────────┤
 *            └──▶ stale(last): the store has later batches.                                   │
 *                    last was sent: it arrived late, after a replay of those before it; continue from last ───┤
 *                    otherwise: the outcome of n stays unknown, abandon it; a new producer id for the next
 *
 * A new producer id gives operations new batch numbers, so the store does not recognise their earlier batches. That is safe
 * only for operations that the store certainly lacks, as after `gap`: its history has nothing after `last`. But gap(0), like a
 * batch 1 that is applied, may also come from a store that has dropped the producer's state. If the first attempt is that
 * long ago, only operations with a session are sent again, while the store keeps their high-water marks, which decide. The
 * outcome of the others stays unknown, and they are abandoned, because counting twice is the worse error.
 */
export class BatchSender {
  readonly retained: RetainedBatches;
  readonly #backoff: Backoff;
  /** Since boot. */
  readonly stats = {
    /** Attempts that did not end with `applied`. */
    retries: 0,
    /** Committed batches that the store had lost, and whose replay changed it. */
    replayedBatches: 0,
    /** Committed batches that the store has lost and that were no longer retained. */
    lostBatches: 0,
    /** Operations that were sent, and may or may not have been counted. */
    unknownOutcomeOperations: 0,
  };

  /** @param abandon is called with operations whose outcome stays unknown and whose clients were not answered */
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

  /** Sends the operations as the queue's next batch. @returns `null` if all were abandoned; if only some were, `waiters` has the others */
  send(queue: BucketQueue, waiters: OpenBatch): Promise<AppliedResult | null> {
    queue.batchNumber += 1;
    const { bucket, producerId, batchNumber } = queue;
    const batch = { bucket, producerId, batchNumber, atMs: this.options.batchTimeMs(), operations: waiters.operations };
    return this.#deliver(queue, [{ batch, waiters, firstSentAt: null, numberedAt: null }]);
  }

  /** After an outage: retained batches are pinned until a batch that is sent from now on has been committed. */
  suspect(queue: BucketQueue): void {
    queue.needsVerification = true;
    this.retained.pin(queue);
  }

  /** Sends the queue's last batch again. The result shows whether the store still has it and all before it. */
  async verifyHistory(queue: BucketQueue): Promise<void> {
    queue.needsVerification = false;
    const last = this.retained.takeAfter(queue, queue.batchNumber - 1).map(toSending);
    if (last.some((sending) => this.#mayHaveExpired(sending))) this.retained.discard(queue);
    else await this.#deliver(queue, last);
  }

  async #deliver(queue: BucketQueue, batches: readonly Sending[]): Promise<AppliedResult | null> {
    let applied: AppliedResult | null = null;
    let failures = 0;
    let left = batches;
    while (left.length > 0) {
      if (left[0]!.batch.batchNumber === 1 && this.#mayHaveExpired(left[0]!))
        left = this.#replayMissing(queue, left, 0);
      const [head] = left;
      if (head === undefined) break;
      const result = await this.#commit(queue, head);
      if (result?.kind === 'applied') {
        this.#commitDone(queue, head.batch, result.outcomes);
        if (head.waiters !== null) applied = result;
        else if (result.changed.length > 0) this.stats.replayedBatches += 1;
        left = left.slice(1);
        continue;
      }
      this.stats.retries += 1;
      this.retained.pin(queue);
      if (result !== null) left = this.#recoverHistory(queue, left, result);
      failures += 1;
      await sleep(this.clock, this.#backoff.pauseMs(failures));
    }
    if (!queue.needsVerification) this.retained.unpin(queue);
    return applied;
  }

  async #commit(queue: BucketQueue, sending: Sending): Promise<CommitResult | null> {
    // Before the commit: if another outage follows, a result from before it proves nothing.
    queue.needsVerification = false;
    const now = readInstant(this.clock);
    sending.firstSentAt ??= now;
    sending.numberedAt ??= now;
    try {
      return await this.store.commit(sending.batch);
    } catch {
      // Unknown outcome: the producer state makes sending it again safe, and `available` shows the outage.
      return null;
    }
  }

  #recoverHistory(queue: BucketQueue, left: readonly Sending[], { kind, last }: RejectedResult): readonly Sending[] {
    const { batchNumber } = left[0]!.batch;
    if (kind === 'undecided') return this.#awaitDecision(left);
    if (kind === 'gap' && last < batchNumber - 1) return this.#replayMissing(queue, left, last);
    if (kind === 'stale' && last > batchNumber) return this.#skipCommitted(queue, left, last);
    // No history leads to such a result. The batch is sent again, as after any failure.
    return left;
  }

  #awaitDecision([head, ...others]: readonly Sending[]): readonly Sending[] {
    head!.undecidedSince ??= readInstant(this.clock);
    if (ageMs(this.clock, head!.undecidedSince) <= UNDECIDED_MAX_MS) return [head!, ...others];
    this.#recordLoss(1);
    return [{ ...head!, batch: { ...head!.batch, isReplay: false } }, ...others];
  }

  /** The store has no batch of the producer after `last`. */
  #replayMissing(queue: BucketQueue, left: readonly Sending[], last: number): readonly Sending[] {
    const missing = [...this.retained.takeAfter(queue, last).map(toSending), ...left];
    const lost = missing[0]!.batch.batchNumber - last - 1;
    const expired = new Set(last === 0 ? missing.filter((sending) => this.#mayHaveExpired(sending)) : []);
    if (lost === 0 && expired.size === 0) return missing;
    const idleMs = queue.lastCommitAt === null ? Infinity : ageMs(this.clock, queue.lastCommitAt);
    if (last > 0 || idleMs <= PRODUCER_STATE_TRUST_MS) this.#recordLoss(lost);
    const certain = missing.flatMap((sending) => (expired.has(sending) ? this.#onlyWithSession(sending) : [sending]));
    return this.#restartNumbering(queue, certain);
  }

  /**
   * The store has all batches of the producer up to `last`. During a replay, a later batch that was sent before may arrive
   * late, when all before it are there; then the outcomes of `last` are requested. A number that was never sent means that
   * another process uses the producer id (a cloned machine): then all outcomes are unknown.
   */
  #skipCommitted(queue: BucketQueue, left: readonly Sending[], last: number): readonly Sending[] {
    if (last <= left.at(-1)!.batch.batchNumber) {
      for (const { batch } of left) if (batch.batchNumber < last) this.#commitDone(queue, batch, null);
      return left.filter(({ batch }) => batch.batchNumber >= last);
    }
    for (const sending of left) this.#reduce(sending, () => false);
    return this.#restartNumbering(queue, []);
  }

  /** @param outcomes `null`: unknown. Of a batch that was retained they may be those of before, with operations that it has no longer */
  #commitDone(queue: BucketQueue, batch: Batch, outcomes: Uint8Array | null): void {
    queue.lastCommitAt = readInstant(this.clock);
    const isKnown = outcomes?.length === batch.operations.length;
    this.retained.retain(queue, batch, queue.lastCommitAt, (i) => !isKnown || outcomes[i] !== ELSEWHERE);
  }

  #restartNumbering(queue: BucketQueue, sendings: readonly Sending[]): readonly Sending[] {
    this.retained.discard(queue);
    queue.producerId = this.options.newProducerId();
    queue.batchNumber = sendings.length;
    const { producerId } = queue;
    return sendings.map(({ batch, waiters, firstSentAt }, i) => {
      return { batch: { ...batch, producerId, batchNumber: i + 1 }, waiters, firstSentAt, numberedAt: null };
    });
  }

  /** Whether the store may have applied the batch and dropped the producer's state since. */
  #mayHaveExpired({ numberedAt }: Sending): boolean {
    return numberedAt !== null && ageMs(this.clock, numberedAt) > PRODUCER_STATE_TRUST_MS;
  }

  #onlyWithSession(sending: Sending): Sending[] {
    const hasMarks = ageMs(this.clock, sending.firstSentAt!) <= MARKS_TRUST_MS;
    return this.#reduce(sending, ({ session }) => hasMarks && session !== null);
  }

  /** Abandons operations that `stays` does not select. @returns a batch of the others, if there are any */
  #reduce(sending: Sending, stays: (operation: Operation) => boolean): Sending[] {
    const { batch, waiters } = sending;
    const operations = batch.operations.filter(stays);
    this.stats.unknownOutcomeOperations += batch.operations.length - operations.length;
    if (waiters !== null) this.abandon(waiters.keepOnly(stays));
    return operations.length === 0 ? [] : [{ ...sending, batch: { ...batch, operations } }];
  }

  #recordLoss(batches: number): void {
    if (batches > 0 && this.stats.lostBatches === 0) {
      this.options.warn(
        'the store came back without committed batches that are no longer retained here; their counts are lost ' +
          '(further losses: tallycast_lost_batches_total)',
      );
    }
    this.stats.lostBatches += batches;
  }
}

function toSending({ batch, committedAt }: RetainedBatch): Sending {
  return { batch: { ...batch, isReplay: true }, waiters: null, firstSentAt: committedAt, numberedAt: committedAt };
}
