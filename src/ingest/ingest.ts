import { type Observable, Subject } from 'rxjs';
import type { Clock, Timer } from '../common/clock.js';
import type { Lifecycle } from '../common/lifecycle.js';
import { sleep } from '../common/sleep.js';
import { bucketOf } from '../counters/ids.js';
import { CLOSING_ERROR, type ErrorBody, errorBody } from '../protocol/errors.js';
import type { CounterStore } from '../store/counter-store.js';
import { type AppliedResult, BatchSender, type BatchSenderOptions } from './batch-sender.js';
import { BucketQueue, type OpenBatch } from './bucket-queue.js';
import type { CommittedBatch, RejectedOperations } from './committed-batch.js';
import type { PendingOperation } from './pending-operation.js';

/** Measured on LMDB: a batch of 500 costs little more than one of 50, and its answers still leave in one go. */
const BATCH_MAX = 500;
/** With this many waiting, batches are sent early: the store works on them while more are read. */
const GATHERED_MAX = 512;
/** About a second of full load; what comes on top is shed, before anything was done. */
const PENDING_MAX = 50_000;
/** A fraction of a second of full load: enough for full batches, and short enough to wait behind. */
const CROWDED = 10_000;
/**
 * Each sender may fill this part of the room that is left of PENDING_MAX, as in a switch that shares its memory: the
 * more senders there are, the less each has. A thousand settle at 16 each, ten thousand at 4. https://doi.org/10.1109/90.664262
 */
const SHARE_OF_ROOM = 1 / 2_000;
/** How long a client waits before it is told that the outcome is unknown. */
const DEADLINE_MS = 5_000;
const DEADLINE_CHECK_MS = 250;
const DRAIN_CHECK_MS = 5;
const TOO_MANY_ERROR = errorBody('OVERLOADED', 'too many operations wait; retry later', 1_000);
/** Lanes with nothing in flight that ask, after the store was away, whether it still has what it confirmed. */
const CHECKS_AT_ONCE = 256;

export interface IngestOptions extends BatchSenderOptions {
  readonly buckets: number;
  /** FLUSH_MS: how long an operation waits for company. */
  readonly flushMs: number;
}

/** Called with seconds; prom-client's histograms are such. */
export interface Observer {
  observe(seconds: number): void;
}

/**
 * Write combining and group commit: an operation joins the open batch of its post's bucket; the batch is committed
 * when it is full or FLUSH_MS old, or with all others when 512 operations wait for that; then each of its operations is
 * answered. One batch of a bucket is in flight at a time, so operations of one post take effect in the order they came.
 *
 * BatchSender sends a batch until the store confirms it, and sends confirmed ones again that the store has lost. Nothing
 * that was taken in is dropped, so nothing overtakes it; a client whose deadline passes meanwhile is told UNAVAILABLE,
 * and its retry is found to be a duplicate.
 *
 * A store that was away may have lost what it confirmed. A lane learns that from the answer to its next batch, and one
 * that has none from a check, behind which its new operations wait:
 *
 *             operation                     FLUSH_MS, or full
 *     idle ──────────────▶ waiting ────────────────────────────▶ sending ──▶ answered: the next, a check, or idle
 *       └─ the store returned, lane unchecked ──▶ check ───────────┘
 */
export class Ingest {
  readonly #lanes: readonly BucketQueue[];
  readonly #busy = new Set<BucketQueue>();
  readonly #delivery: BatchSender;
  #flushTimer: Timer | null = null;
  #flushAtMs = 0;
  /** Operations since the last flush that need not wait for an answer. */
  #gathered = 0;
  #deadlineTimer: Timer | null = null;
  #pending = 0;
  #checkers = 0;
  /** Operations that were shed in the current turn of the event loop. */
  #shedOperations: PendingOperation[] = [];
  readonly #committed = new Subject<CommittedBatch>();
  readonly #rejected = new Subject<RejectedOperations>();
  readonly committed: Observable<CommittedBatch> = this.#committed;
  readonly rejected: Observable<RejectedOperations> = this.#rejected;

  constructor(
    private readonly store: CounterStore,
    private readonly clock: Clock,
    private readonly lifecycle: Lifecycle,
    random: () => number,
    private readonly options: IngestOptions,
    private readonly latency: { readonly commit: Observer; readonly acknowledgement: Observer },
  ) {
    this.#delivery = new BatchSender(store, clock, random, options, (operations) => this.#failUnavailable(operations));
    this.#lanes = Array.from(
      { length: options.buckets },
      (_, bucket) => new BucketQueue(bucket, options.newProducerId()),
    );
    store.reconnected.subscribe(() => this.#checkAll());
  }

  /** Operations taken in and not yet confirmed. */
  get pending(): number {
    return this.#pending;
  }

  /** Whether more wait than are needed to keep the store busy, and it is there to take them. */
  get congested(): boolean {
    return this.#pending >= CROWDED && this.store.allReachable && !this.lifecycle.isClosing;
  }

  /** How many operations one connection may have waiting, while it is crowded, before it is made to wait itself. */
  get fairShare(): number {
    return (PENDING_MAX - this.#pending) * SHARE_OF_ROOM;
  }

  /** Operations of confirmed batches that are kept. */
  get retained(): number {
    return this.#delivery.retained.operations;
  }

  get stats(): BatchSender['stats'] {
    return this.#delivery.stats;
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
    const lane = this.#lanes[bucketOf(operation.post, this.options.buckets)]!;
    const full = lane.add(operation, now, BATCH_MAX);
    this.#busy.add(lane);
    this.#deadlineTimer ??= this.clock.after(DEADLINE_CHECK_MS, () => this.#checkDeadlines());
    if (lane.sending) return;
    if (full) void this.#send(lane, lane.waiting.shift());
    else if (++this.#gathered >= GATHERED_MAX) this.#flush();
    else this.#flushBy(now + this.options.flushMs, now);
  }

  /** Once the gateway is closing: resolves when all is answered, or after `limitMs`. What is retained goes with the process. */
  async drain(limitMs: number): Promise<void> {
    this.#flush();
    const end = this.clock.nowMs() + limitMs;
    while (this.#pending > 0 && this.clock.nowMs() < end) {
      await sleep(this.clock, DRAIN_CHECK_MS);
    }
  }

  /** One timer for all lanes, so that what they commit shares the store's syncs. */
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
    this.#gathered = 0;
    for (const lane of this.#busy) if (!lane.sending) void this.#send(lane, lane.waiting.shift());
  }

  /** Sends this batch if there is one, and what is due after it. */
  async #send(lane: BucketQueue, first: OpenBatch | undefined): Promise<void> {
    lane.sending = true;
    for (let batch = first; ; batch = this.#next(lane)) {
      if (batch !== undefined) await this.#commit(lane, batch);
      else if (lane.needsVerification && !this.lifecycle.isClosing) await this.#delivery.verifyHistory(lane);
      else break;
    }
    lane.sending = false;
    if (lane.waiting.length === 0) this.#busy.delete(lane);
  }

  /** The lane's next batch if it need not wait; else its turn comes with the timer. */
  #next(lane: BucketQueue): OpenBatch | undefined {
    const head = lane.waiting[0];
    if (head === undefined) return undefined;
    const now = this.clock.nowMs();
    const dueAtMs = head.openedAtMs + this.options.flushMs;
    if (head.operations.length >= BATCH_MAX || dueAtMs <= now || this.lifecycle.isClosing) return lane.waiting.shift();
    this.#flushBy(dueAtMs, now);
    return undefined;
  }

  async #commit(lane: BucketQueue, batch: OpenBatch): Promise<void> {
    const { length } = batch.operations;
    lane.inFlight = batch;
    const sentAtMs = this.clock.nowMs();
    const result = await this.#delivery.send(lane, batch);
    const now = this.clock.nowMs();
    this.latency.commit.observe((now - sentAtMs) / 1000);
    this.#pending -= length;
    if (result !== null) this.#acknowledge(lane.bucket, batch, result, now);
    lane.inFlight = null;
  }

  #acknowledge(bucket: number, batch: OpenBatch, result: AppliedResult, now: number): void {
    const { operations, answeredFrom } = batch;
    const { outcomes, counts } = result;
    // The others waited less long. To look at each would cost as much as all else that is done for it here.
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
    const overdue: PendingOperation[] = [];
    for (const lane of this.#busy) for (const operation of lane.takeOverdue(sinceMs)) overdue.push(operation);
    this.#failUnavailable(overdue);
    this.#deadlineTimer =
      this.#busy.size > 0 ? this.clock.after(DEADLINE_CHECK_MS, () => this.#checkDeadlines()) : null;
  }

  #failUnavailable(operations: readonly PendingOperation[]): void {
    if (operations.length === 0) return;
    const error = errorBody('UNAVAILABLE', 'the store did not answer in time; retry with the same seq or key');
    for (const operation of operations) operation.failed(error);
    this.#rejected.next({ operations, code: 'UNAVAILABLE' });
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

  #checkAll(): void {
    // Also one with a batch on its way: its answer may be from before.
    for (const lane of this.#lanes) if (lane.sending || lane.retained.length > 0) this.#delivery.suspect(lane);
    while (this.#checkers < CHECKS_AT_ONCE && this.#unchecked() !== undefined) void this.#check();
  }

  async #check(): Promise<void> {
    this.#checkers += 1;
    for (let lane = this.#unchecked(); lane !== undefined; lane = this.#unchecked()) await this.#send(lane, undefined);
    this.#checkers -= 1;
  }

  #unchecked(): BucketQueue | undefined {
    return this.lifecycle.isClosing ? undefined : this.#lanes.find((lane) => lane.needsVerification && !lane.sending);
  }
}
