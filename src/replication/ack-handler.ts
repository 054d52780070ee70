import { compareIncarnations } from '../counters/pn-counter.js';
import type { Delta, DeltaAck } from '../counters/replication/delta.js';
import type { BucketStatus, NewIncarnation, ReplicatedStore } from '../store/replicated-store.js';
import type { ChangeReader } from './change-reader.js';
import type { PeerBuckets } from './peer-buckets.js';
import { hasLostHistory } from './peer-progress.js';

export interface AckHandlerOptions {
  readonly changeReader: ChangeReader;
  /** Called with the number of buckets whose backfill starts because the region has more of them. */
  readonly reportLostHistory: (buckets: number, region: string) => void;
  /** Called when the peer rejects buckets because their stamps are too far ahead of its clock. */
  readonly rewindClocks: () => Promise<void>;
}

/** Acts on the acks of one peer: records its progress, or starts a new incarnation, a backfill or a full sync. */
export class AckHandler {
  /** Since boot. */
  readonly counts = { rejectedDeltas: 0, incarnationsStarted: 0 };
  /** Buckets that lost history and were not reported yet. */
  #lostBuckets = 0;

  constructor(
    private readonly store: ReplicatedStore,
    private readonly region: string,
    private readonly buckets: PeerBuckets,
    private readonly options: AckHandlerOptions,
  ) {}

  /** @param statuses as they were before the deltas were built */
  async handle(
    deltas: readonly Delta[],
    acks: readonly DeltaAck[],
    statuses: ReadonlyMap<number, BucketStatus>,
  ): Promise<void> {
    const { progress, lag, rejections, fullSyncs } = this.buckets;
    for (const [i, ack] of acks.entries()) {
      const { bucket, source, upTo } = deltas[i]!;
      const status = statuses.get(bucket)!;
      // The delta was built after another incarnation had started: the next exchange reads its status.
      if (compareIncarnations(source, status) !== 'same') continue;
      if (ack.incarnationRejected) this.counts.rejectedDeltas += 1;
      if (ack.incarnationRejected || ack.rejection !== undefined) fullSyncs.drop(bucket);
      progress.set(bucket, ack);
      if (ack.rejection !== undefined) continue;
      const isMerged = compareIncarnations(ack, status) === 'same' && upTo <= ack.upTo;
      if (isMerged && upTo >= status.clock) lag.markCaughtUp(bucket);
      // The delta also contains what was counted between reading the status and reading the changes.
      await this.#handleAck(bucket, ack, { ...status, clock: Math.max(status.clock, upTo) });
    }
    if (this.#lostBuckets > 0) this.options.reportLostHistory(this.#lostBuckets, this.region);
    this.#lostBuckets = 0;
    if (rejections.record(acks).length > 0) await this.options.rewindClocks();
  }

  async #handleAck(bucket: number, ack: DeltaAck, status: BucketStatus): Promise<void> {
    const isSame = compareIncarnations(ack, status) === 'same';
    if (ack.incarnationRejected || (isSame && ack.upTo > status.clock)) {
      await this.#startIncarnation(bucket, ack, status, isSame);
      return;
    }
    const isBehind = !isSame && !status.backfilling && ack.epoch > 0;
    if (isBehind && hasLostHistory(ack, status, this.store.losesCommitsOnFailover)) {
      this.#lostBuckets += 1;
      await this.#start(bucket, { epoch: 0, clock: ack.upTo, needsBackfill: true });
      return;
    }
    if (this.buckets.fullSyncs.isRunning(bucket)) return;
    const isRequested = !ack.fullySynced && (isSame || ack.backfilling);
    if (isRequested || (!isSame && !status.backfilling)) this.buckets.fullSyncs.add(bucket);
  }

  /** The peer rejected the incarnation, or has more of it than this store. */
  async #startIncarnation(bucket: number, ack: DeltaAck, before: BucketStatus, isSame: boolean): Promise<void> {
    const [status] = await this.store.bucketStatus([bucket]);
    // Meanwhile another incarnation has started, or another gateway has pushed this bucket.
    if (status === undefined || compareIncarnations(status, before) !== 'same') return;
    if (!ack.incarnationRejected && ack.upTo <= status.clock) return;
    // A peer that has more of this incarnation shows that the store lost history. A peer may also reject this incarnation for its stamps alone.
    const needsBackfill = ack.incarnationRejected
      ? hasLostHistory(ack, status, this.store.losesCommitsOnFailover)
      : true;
    const epoch = ack.incarnationRejected && isSame ? 0 : ack.epoch;
    this.counts.incarnationsStarted += 1;
    if (needsBackfill) this.#lostBuckets += 1;
    await this.#start(bucket, { epoch, clock: ack.upTo, needsBackfill });
    this.buckets.progress.delete(bucket);
  }

  async #start(bucket: number, incarnation: Omit<NewIncarnation, 'rewindsClock'>): Promise<void> {
    await this.store.startIncarnation([bucket], { ...incarnation, rewindsClock: false });
    this.options.changeReader.invalidate();
  }
}
