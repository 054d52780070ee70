import type { Clock, Timer } from '../clock.js';
import type { CommitResult } from '../counters/batch.js';
import { bucketOf } from '../counters/ids.js';
import { errorBody } from '../protocol/errors.js';
import type { CounterStore } from '../store/counter-store.js';
import { Lane, type OpenBatch } from './lane.js';
import type { PendingOperation } from './pending-operation.js';

/** Measured on LMDB: a batch of 500 costs little more than one of 50, and its answers still leave in one go. */
const BATCH_MAX = 500;
/** About a second of full load; what comes on top is shed, before anything was done. */
const PENDING_MAX = 50_000;
/** How long a client waits before it is told that the outcome is unknown. */
const DEADLINE_MS = 5_000;
const DEADLINE_CHECK_MS = 250;
/** What a shed client is asked to wait. */
const OVERLOADED_RETRY_MS = 1_000;
/** Pauses between two sendings of a batch that the store did not take: doubled up to the last, half of it random. */
const RETRY_MIN_MS = 25;
const RETRY_MAX_MS = 1_000;

export interface IngestOptions {
  readonly buckets: number;
  /** FLUSH_MS: how long an operation waits for company. */
  readonly flushMs: number;
  /** 64 random bits of this gateway life. */
  readonly incarnation: string;
}

/** Called with seconds; prom-client's histograms are such. */
export interface Observer {
  observe(seconds: number): void;
}

/**
 * Write combining and group commit: an operation joins the open batch of its post's bucket; the batch is committed
 * when it is full or FLUSH_MS old; then each of its operations is answered. One batch of a bucket is in flight at a
 * time, so operations of one post take effect in the order they came.
 *
 * A batch whose outcome is unknown is sent again, the same, until the store confirms it: its fence makes that safe.
 * Nothing that was taken in is dropped, so nothing overtakes it; a client whose deadline passes meanwhile is told
 * UNAVAILABLE, and its retry is found to be a duplicate.
 */
export class Ingest {
  readonly #lanes: readonly Lane[];
  readonly #busy = new Set<Lane>();
  #flushTimer: Timer | null = null;
  #flushAtMs = 0;
  #deadlineTimer: Timer | null = null;
  #pending = 0;
  #draining = false;
  /** Batches sent again because the store did not take them, since boot. */
  retries = 0;

  constructor(
    private readonly store: CounterStore,
    private readonly clock: Clock,
    private readonly random: () => number,
    private readonly options: IngestOptions,
    private readonly latency: { readonly commit: Observer; readonly acknowledgement: Observer },
  ) {
    this.#lanes = Array.from({ length: options.buckets }, (_, bucket) => new Lane(bucket));
  }

  /** Operations taken in and not yet confirmed. */
  get pending(): number {
    return this.#pending;
  }

  submit(operation: PendingOperation): void {
    if (this.#draining) {
      operation.failed(errorBody('OVERLOADED', 'the gateway is closing; reconnect and retry', OVERLOADED_RETRY_MS));
      return;
    }
    if (this.#pending >= PENDING_MAX) {
      operation.failed(errorBody('OVERLOADED', 'too many operations wait; retry later', OVERLOADED_RETRY_MS));
      return;
    }
    this.#pending += 1;
    const now = this.clock.nowMs();
    operation.acceptedAtMs = now;
    const lane = this.#lanes[bucketOf(operation.post, this.options.buckets)]!;
    const full = lane.add(operation, now, BATCH_MAX);
    this.#busy.add(lane);
    if (lane.inFlight !== null) return;
    if (full) void this.#send(lane);
    else this.#flushBy(now + this.options.flushMs, now);
  }

  /** Takes in nothing more; resolves when all is answered, or after `limitMs`. */
  async drain(limitMs: number): Promise<void> {
    this.#draining = true;
    this.#flush();
    const end = this.clock.nowMs() + limitMs;
    while (this.#pending > 0 && this.clock.nowMs() < end) await this.#pause(5);
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
    for (const lane of this.#busy) if (lane.inFlight === null) void this.#send(lane);
  }

  async #send(lane: Lane): Promise<void> {
    this.#deadlineTimer ??= this.clock.after(DEADLINE_CHECK_MS, () => this.#checkDeadlines());
    for (let batch = lane.waiting.shift(); batch !== undefined; batch = this.#next(lane)) {
      lane.inFlight = batch;
      const sentAtMs = this.clock.nowMs();
      const result = await this.#commit(lane, batch);
      const now = this.clock.nowMs();
      this.latency.commit.observe((now - sentAtMs) / 1000);
      this.#pending -= batch.operations.length;
      this.#answer(batch, result, now);
      lane.inFlight = null;
    }
    if (!lane.busy) this.#busy.delete(lane);
  }

  /** The lane's next batch if it need not wait; else its turn comes with the timer. */
  #next(lane: Lane): OpenBatch | undefined {
    const head = lane.waiting[0];
    if (head === undefined) return undefined;
    const now = this.clock.nowMs();
    const dueAtMs = head.openedAtMs + this.options.flushMs;
    if (head.operations.length >= BATCH_MAX || dueAtMs <= now || this.#draining) return lane.waiting.shift();
    this.#flushBy(dueAtMs, now);
    return undefined;
  }

  async #commit(lane: Lane, { operations }: OpenBatch): Promise<CommitResult & { kind: 'applied' }> {
    lane.n += 1;
    const { incarnation } = this.options;
    const batch = { bucket: lane.bucket, incarnation, n: lane.n, atMs: this.clock.wallMs(), operations };
    for (let pauseMs = RETRY_MIN_MS; ; pauseMs = Math.min(2 * pauseMs, RETRY_MAX_MS)) {
      try {
        const result = await this.store.commit(batch);
        if (result.kind === 'applied') return result;
      } catch {
        // Unknown outcome: the fence makes sending it again safe, and `available` tells the operator.
      }
      this.retries += 1;
      await this.#pause(pauseMs * (0.5 + this.random() / 2));
    }
  }

  #answer(
    { operations, told }: OpenBatch,
    { outcomes, counts }: CommitResult & { kind: 'applied' },
    now: number,
  ): void {
    for (let i = told; i < operations.length; i++) {
      const operation = operations[i]!;
      this.latency.acknowledgement.observe((now - operation.acceptedAtMs) / 1000);
      operation.settled(outcomes[i]!, counts.get(operation.post)!);
    }
  }

  #checkDeadlines(): void {
    const sinceMs = this.clock.nowMs() - DEADLINE_MS;
    const error = errorBody('UNAVAILABLE', 'the store did not answer in time; retry with the same seq or key');
    for (const lane of this.#busy) for (const operation of lane.overdue(sinceMs)) operation.failed(error);
    this.#deadlineTimer =
      this.#busy.size > 0 ? this.clock.after(DEADLINE_CHECK_MS, () => this.#checkDeadlines()) : null;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.clock.after(ms, resolve));
  }
}
