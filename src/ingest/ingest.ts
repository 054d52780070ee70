import { type Observable, Subject } from 'rxjs';
import type { Clock, Timer } from '../common/clock.js';
import type { ClosingFlag } from '../common/closing-flag.js';
import { sleep } from '../common/sleep.js';
import { bucketOf } from '../counters/bucket-of.js';
import { CLOSING_ERROR, type ErrorBody, errorBody } from '../protocol/errors.js';
import type { CounterStore } from '../store/counter-store.js';
import { type AppliedResult, BatchSender } from './batch-sender.js';
import { BucketQueue, type OpenBatch } from './bucket-queue.js';
import { Forwarder } from './forwarder.js';
import type { CommittedBatch, ForwardedOutcome, RejectedOperations, StalledOperation } from './ingest-events.js';
import type { IngestOptions, Observer } from './ingest-options.js';
import type { PendingOperation } from './pending-operation.js';

/** Measured on LMDB: a batch of 500 costs little more than one of 50, and its acknowledgements still leave in one write. */
const BATCH_MAX = 500;
/** Flush early once this many operations wait: the store commits them while more are read. */
const GATHERED_MAX = 512;
/** About a second of full load. Operations beyond it are shed before they have any effect. */
const PENDING_MAX = 50_000;
/** A fraction of a second of full load: enough for full batches, and short enough to wait for. */
const CONGESTED_MIN = 10_000;
/**
 * Each connection may have this fraction of what is free of PENDING_MAX, as in a switch with shared memory (dynamic
 * thresholds, https://doi.org/10.1109/90.664262): the more connections there are, the less each has. A thousand of them
 * converge to 16 operations each, ten thousand to 4.
 */
const SHARE_OF_FREE = 1 / 2_000;
/** A client gets UNAVAILABLE after this time: the outcome is unknown. */
const DEADLINE_MS = 5_000;
const DEADLINE_CHECK_MS = 250;
const DRAIN_CHECK_MS = 5;
const TOO_MANY_ERROR = errorBody('OVERLOADED', 'too many operations are waiting; retry later', 1_000);
/** Idle queues that verify at the same time, after an outage, whether the store still has their batches. */
const VERIFICATIONS_MAX = 256;

/**
 * Write combining and group commit. An operation joins the open batch of its post's bucket. The batch is committed when it
 * is full or FLUSH_MS old, or together with all others when 512 operations wait. Then its operations are acknowledged. A
 * bucket has one batch in flight at a time, so operations of one post take effect in the order in which they arrived.
 *
 * BatchSender sends a batch again until the store has committed it, and replays committed batches that the store has lost.
 * No accepted operation is dropped, so none is overtaken. A client whose deadline passes meanwhile gets UNAVAILABLE, and
 * its retry is recognised as a duplicate.
 *
 * After an outage the store may have lost committed batches. A queue learns that from the result of its next batch. An idle
 * queue verifies it by sending its last batch again; new operations wait behind that:
 *
 *             operation                     FLUSH_MS, or full
 *     idle ──────────────▶ waiting ─────────────────────────────▶ sending ──▶ acknowledged: next batch, verify, or idle
 *       └─ store reconnected, queue idle ──▶ verify its history ─────┘
 */
export class Ingest {
  readonly #queues: readonly BucketQueue[];
  readonly #busy = new Set<BucketQueue>();
  readonly #sender: BatchSender;
  readonly #forwarder: Forwarder | null;
  #flushTimer: Timer | null = null;
  #flushAtMs = 0;
  /** Operations since the last flush whose bucket has no batch in flight. */
  #waitingCount = 0;
  #deadlineTimer: Timer | null = null;
  #pending = 0;
  #verifiers = 0;
  /** Operations that were shed in the current turn of the event loop. */
  #shedOperations: PendingOperation[] = [];
  readonly #committed = new Subject<CommittedBatch>();
  readonly #rejected = new Subject<RejectedOperations>();
  readonly #forwarded = new Subject<ForwardedOutcome>();
  readonly #stalled = new Subject<StalledOperation>();
  readonly committed: Observable<CommittedBatch> = this.#committed;
  readonly rejected: Observable<RejectedOperations> = this.#rejected;
  readonly forwarded: Observable<ForwardedOutcome> = this.#forwarded;
  readonly stalled: Observable<StalledOperation> = this.#stalled;

  constructor(
    private readonly store: CounterStore,
    private readonly clock: Clock,
    private readonly lifecycle: ClosingFlag,
    random: () => number,
    private readonly options: IngestOptions,
    private readonly latency: { readonly commit: Observer; readonly acknowledgement: Observer },
  ) {
    this.#sender = new BatchSender(store, clock, random, options, (operations) => this.#failUnavailable(operations));
    this.#forwarder = this.#createForwarder();
    this.#queues = Array.from(
      { length: options.buckets },
      (_, bucket) => new BucketQueue(bucket, options.newProducerId()),
    );
    store.reconnected.subscribe(() => this.#verifyAll());
  }

  /** Operations that were accepted and are not committed yet. */
  get pending(): number {
    return this.#pending;
  }

  /** Whether more operations wait than keep the store busy, and the store is reachable. */
  get isCongested(): boolean {
    return this.#pending >= CONGESTED_MIN && this.store.allReachable && !this.lifecycle.isClosing;
  }

  /** While ingest is congested, a connection with this many waiting operations is paused. */
  get fairShare(): number {
    return (PENDING_MAX - this.#pending) * SHARE_OF_FREE;
  }

  /** Operations on their way to other regions. */
  get forwarding(): number {
    return this.#forwarder?.size ?? 0;
  }

  /** Operations of committed batches that are kept for a replay. */
  get retained(): number {
    return this.#sender.retained.operations;
  }

  get stats(): BatchSender['stats'] {
    return this.#sender.stats;
  }

  submit(operation: PendingOperation): void {
    if (this.lifecycle.isClosing) {
      this.#shed(operation, CLOSING_ERROR);
      return;
    }
    if (this.#pending >= PENDING_MAX) {
      this.#shed(operation, TOO_MANY_ERROR);
      return;
    }
    this.#pending += 1;
    const now = this.clock.nowMs();
    operation.acceptedAtMs = now;
    const queue = this.#queues[bucketOf(operation.post, this.options.buckets)]!;
    const full = queue.add(operation, now, BATCH_MAX);
    this.#busy.add(queue);
    this.#deadlineTimer ??= this.clock.after(DEADLINE_CHECK_MS, () => this.#checkDeadlines());
    if (queue.isSending) return;
    if (full) void this.#send(queue, queue.waiting.shift());
    else if (++this.#waitingCount >= GATHERED_MAX) this.#flush();
    else this.#flushBy(now + this.options.flushMs, now);
  }

  /** Once the gateway is closing: resolves when all operations are acknowledged, or after `limitMs`. Retained batches are dropped with the process. */
  async drain(limitMs: number): Promise<void> {
    this.#flush();
    const end = this.clock.nowMs() + limitMs;
    while (this.#pending > 0 && this.clock.nowMs() < end) {
      await sleep(this.clock, DRAIN_CHECK_MS);
    }
  }

  /** Starts one timer for all queues, so that their commits share the store's syncs to disk. */
  #flushBy(atMs: number, nowMs: number): void {
    if (this.#flushTimer !== null) {
      if (this.#flushAtMs <= atMs) return;
      this.#flushTimer.cancel();
    }
    this.#flushAtMs = atMs;
    this.#flushTimer = this.clock.after(atMs - nowMs, () => this.#flush());
  }

  #flush(): void {
    this.#flushTimer?.cancel();
    this.#flushTimer = null;
    this.#waitingCount = 0;
    for (const queue of this.#busy) if (!queue.isSending) void this.#send(queue, queue.waiting.shift());
  }

  /** Sends this batch if there is one, and then batches that are due. */
  async #send(queue: BucketQueue, first: OpenBatch | undefined): Promise<void> {
    queue.isSending = true;
    for (let batch = first; ; batch = this.#next(queue)) {
      if (batch !== undefined) await this.#commit(queue, batch);
      else if (queue.needsVerification && !this.lifecycle.isClosing) await this.#sender.verifyHistory(queue);
      else break;
    }
    queue.isSending = false;
    if (queue.waiting.length === 0) this.#busy.delete(queue);
  }

  /** @returns the next batch if it is due; otherwise the timer will send it */
  #next(queue: BucketQueue): OpenBatch | undefined {
    const head = queue.waiting[0];
    if (head === undefined) return undefined;
    const now = this.clock.nowMs();
    const dueAtMs = head.openedAtMs + this.options.flushMs;
    if (head.operations.length >= BATCH_MAX || dueAtMs <= now || this.lifecycle.isClosing) return queue.waiting.shift();
    this.#flushBy(dueAtMs, now);
    return undefined;
  }

  async #commit(queue: BucketQueue, batch: OpenBatch): Promise<void> {
    queue.holdBack(batch);
    const { length } = batch.operations;
    if (length === 0) return;
    queue.inFlight = batch;
    const sentAtMs = this.clock.nowMs();
    const result = await this.#sender.send(queue, batch);
    const now = this.clock.nowMs();
    this.latency.commit.observe((now - sentAtMs) / 1000);
    this.#pending -= length;
    if (result !== null) {
      const applied = this.#forwarder?.take(queue, batch, result) ?? result;
      this.#acknowledge(queue.bucket, batch, applied, now);
    }
    queue.inFlight = null;
  }

  #createForwarder(): Forwarder | null {
    const { forwarding } = this.options;
    if (forwarding === undefined) return null;
    return new Forwarder(forwarding, {
      batchMax: BATCH_MAX,
      fail: (operations, error) => this.#fail(operations, error),
      left: (count) => (this.#pending -= count),
      settled: (operation, outcome) => this.#forwarded.next({ operation, outcome }),
      stalled: (one) => this.#stalled.next(one),
      resume: (queue) => {
        if (queue.waiting.length === 0 || queue.isSending) return;
        this.#busy.add(queue);
        void this.#send(queue, queue.waiting.shift());
      },
    });
  }

  #acknowledge(bucket: number, batch: OpenBatch, result: AppliedResult, now: number): void {
    const { operations, answeredFrom } = batch;
    const { outcomes, counts } = result;
    // Only the oldest: observing each would cost as much as all other work for an operation here.
    const oldest = operations[answeredFrom];
    if (oldest !== undefined) this.latency.acknowledgement.observe((now - oldest.acceptedAtMs) / 1000);
    for (let i = answeredFrom; i < operations.length; i++) {
      const operation = operations[i]!;
      operation.settled(outcomes[i]!, counts.get(operation.post)!);
    }
    this.#committed.next({ bucket, operations, outcomes, counts, answeredFrom });
  }

  #checkDeadlines(): void {
    const sinceMs = this.clock.nowMs() - DEADLINE_MS;
    this.#forwarder?.failOverdue(sinceMs);
    const overdue: PendingOperation[] = [];
    for (const queue of this.#busy) for (const operation of queue.takeOverdue(sinceMs)) overdue.push(operation);
    this.#failUnavailable(overdue);
    this.#deadlineTimer =
      this.#busy.size > 0 || this.forwarding > 0
        ? this.clock.after(DEADLINE_CHECK_MS, () => this.#checkDeadlines())
        : null;
  }

  #failUnavailable(operations: readonly PendingOperation[]): void {
    this.#fail(
      operations,
      errorBody('UNAVAILABLE', 'the store did not answer in time; retry with the same seq or key'),
    );
  }

  #fail(operations: readonly PendingOperation[], error: ErrorBody): void {
    if (operations.length === 0) return;
    for (const operation of operations) operation.failed(error);
    this.#rejected.next({ operations, code: error.code });
  }

  #shed(operation: PendingOperation, error: ErrorBody): void {
    if (this.#shedOperations.push(operation) === 1) this.clock.soon(this.#emitShed);
    operation.failed(error);
  }

  readonly #emitShed = (): void => {
    const operations = this.#shedOperations;
    this.#shedOperations = [];
    this.#rejected.next({ operations, code: 'OVERLOADED' });
  };

  #verifyAll(): void {
    // Also a queue with a batch in flight, because its result may be from before the outage.
    for (const queue of this.#queues) if (queue.isSending || queue.retained.length > 0) this.#sender.suspect(queue);
    while (this.#verifiers < VERIFICATIONS_MAX && this.#findUnverified() !== undefined) void this.#verifyInTurn();
  }

  async #verifyInTurn(): Promise<void> {
    this.#verifiers += 1;
    for (let queue = this.#findUnverified(); queue !== undefined; queue = this.#findUnverified())
      await this.#send(queue, undefined);
    this.#verifiers -= 1;
  }

  #findUnverified(): BucketQueue | undefined {
    return this.lifecycle.isClosing
      ? undefined
      : this.#queues.find((queue) => queue.needsVerification && !queue.isSending);
  }
}
