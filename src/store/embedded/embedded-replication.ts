import { type Observable, Subject } from 'rxjs';
import { bucketOf } from '../../counters/bucket-of.js';
import { ImpossibleHomeError } from '../../counters/replication/home-rules.js';
import { mergeDelta } from '../../counters/replication/merge-delta.js';
import type { Metrics } from '../../counters/metrics.js';
import type { Incarnation } from '../../counters/pn-counter.js';
import type { ReplicationState } from '../../counters/replication/replication-state.js';
import { buildDelta, rewindClock, emptyDelta, restamp, buildFullPost } from '../../counters/replication/build-delta.js';
import type { PostDelta, DeltaAck, Delta, RemoteToggle } from '../../counters/replication/delta.js';
import type {
  ChangesRequest,
  BucketStatus,
  NewIncarnation,
  ReplicatedStore,
  FullSyncPage,
} from '../replicated-store.js';
import type { DataDirectory } from './disk/data-directory.js';
import type { GroupCommit } from './group-commit.js';
import type { RecordCache } from './record-cache.js';

/** Ids that a full sync reads for each post that is in one of its buckets: 4,000 take some milliseconds. */
const IDS_PER_POST_MAX = 8;
/** Chunks of registers that one group commit checks for expired ones, … */
const EXPIRY_CHUNKS = 64;
/** … and posts whose records hold registers. */
const EXPIRY_POSTS = 500;

/** Replicates the embedded store with other regions: the functions of src/counters/replication over its buckets. */
export class EmbeddedReplication implements ReplicatedStore {
  /** A durable commit stays: an incarnation begins only where the data comes from a copy, or from nothing. */
  readonly losesCommitsOnFailover = false;
  readonly #remoteToggles = new Subject<readonly RemoteToggle[]>();
  readonly remoteToggles: Observable<readonly RemoteToggle[]> = this.#remoteToggles;
  /** How far registers are expired: the last chunk of this cycle, and the sum of the stable stamps when it began. */
  readonly #expiry = { hasMore: false, lastChunk: '', stableStamps: -1 };

  /** @param states by bucket. The store changes the array in place when it reads them again */
  constructor(
    private readonly commits: GroupCommit,
    private readonly directory: DataDirectory,
    private readonly states: readonly ReplicationState[],
    private readonly metrics: Metrics,
  ) {}

  async acquireLeases(): Promise<readonly number[]> {
    // A damaged value was reported, and must not keep the buckets from being replicated.
    await this.commits.enqueueWrite((records) => this.#settleMilestones(records)).catch(() => undefined);
    return this.states.map((_, bucket) => bucket);
  }

  bucketStatus(buckets: readonly number[]): Promise<readonly BucketStatus[]> {
    return this.commits.readCommitted((records) => {
      const { epoch, nonce } = records.incarnation;
      return buckets.map((bucket) => {
        const { clock, recoveredUpTo, backfilling, syncedFrom } = this.states[bucket]!.state;
        return { epoch, nonce, clock, recoveredUpTo, backfilling, syncedFrom };
      });
    });
  }

  async changesSince(
    requests: readonly ChangesRequest[],
    peers: readonly string[],
    limit: number,
  ): Promise<readonly (Delta | null)[]> {
    const deltas = await this.commits.readCommitted((records) =>
      requests.map(({ bucket: number, after, ackedUpTo }) => {
        this.states[number]!.advanceStability(ackedUpTo, peers);
        return buildDelta(number, records.openBucket(number), after, limit);
      }),
    );
    await this.#expireRegisters();
    return deltas;
  }

  observeIncarnations(
    region: string,
    incarnations: readonly (readonly [bucket: number, incarnation: Incarnation])[],
  ): Promise<readonly boolean[]> {
    return this.commits.enqueueWrite((records) =>
      incarnations.map(([number, incarnation]) => {
        records.openBucket(number).persistReplication();
        return this.states[number]!.observeIncarnation(region, incarnation);
      }),
    );
  }

  fullSyncPage(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<FullSyncPage> {
    return this.commits.readCommitted((records) => {
      const idsMax = Math.ceil(limit * Math.min(IDS_PER_POST_MAX, this.states.length / buckets.size));
      const ids = records.listPostsAfter(cursor, idsMax);
      const posts = new Map<number, PostDelta[]>();
      for (const id of ids) {
        const number = bucketOf(id, this.states.length);
        if (!buckets.has(number)) continue;
        const full = buildFullPost(records.openBucket(number), this.metrics, id);
        posts.set(number, [...(posts.get(number) ?? []), full]);
      }
      const deltas = [...posts].map(([number, full]) => {
        return { ...emptyDelta('full-sync', number, records.openBucket(number), 0), posts: full };
      });
      return { deltas, next: ids.length < idsMax ? null : ids.at(-1)! };
    });
  }

  readPosts(posts: readonly string[]): Promise<readonly Delta[]> {
    return this.commits.readCommitted((records) =>
      posts.map((post) => {
        const number = bucketOf(post, this.states.length);
        const bucket = records.openBucket(number);
        const registersAndEntries = { ...buildFullPost(bucket, this.metrics, post), members: [] };
        return { ...emptyDelta('full-sync', number, bucket, 0), posts: [registersAndEntries] };
      }),
    );
  }

  async merge(deltas: readonly Delta[]): Promise<readonly DeltaAck[]> {
    const merged = await this.commits.enqueueWrite((records) =>
      deltas.map((delta) => {
        const registered = this.#registerIncarnations(delta);
        if (registered instanceof Error) return registered;
        try {
          const result = mergeDelta(records.openBucket(delta.bucket), this.metrics, registered);
          this.commits.addChanged(result.changed);
          return result;
        } catch (error) {
          // Nothing of this delta has changed anything, and the others are merged.
          if (error instanceof ImpossibleHomeError) return error;
          throw error;
        }
      }),
    );
    const toggles = merged.flatMap((result) => (result instanceof Error ? [] : result.remoteToggles));
    if (toggles.length > 0) this.#remoteToggles.next(toggles);
    return merged.map((result) => {
      if (result instanceof Error) throw result;
      return result.ack;
    });
  }

  startIncarnation(
    buckets: readonly number[],
    { epoch, clock, needsBackfill, rewindsClock }: NewIncarnation,
  ): Promise<void> {
    return this.commits.enqueueWrite((records) => {
      const before = records.incarnation;
      if (before.epoch <= epoch) this.directory.startIncarnation(epoch + 1);
      for (const number of buckets) {
        const { state } = this.states[number]!;
        if (rewindsClock) {
          rewindClock(records.openBucket(number), clock);
          records.registerExpiry.resetClock(number);
        } else if (state.startedAtStamp < clock) restamp(records.openBucket(number), state.startedAtStamp, clock);
        state.backfilling ||= needsBackfill;
      }
      // All buckets count in the same incarnation.
      const started = records.incarnation === before ? (needsBackfill ? buckets : []) : this.states.keys();
      for (const number of started) this.states[number]!.startIncarnation(before);
      for (const number of this.states.keys()) records.openBucket(number).persistReplication();
    });
  }

  completeBackfill(buckets: readonly number[]): Promise<void> {
    return this.commits.enqueueWrite((records) => {
      for (const number of buckets) {
        const { state } = this.states[number]!;
        state.backfilling = false;
        state.recoveredUpTo = state.clock;
        const bucket = records.openBucket(number);
        bucket.homes.exchange.shipAgain(bucket.milestones.isEmpty ? [] : bucket.listPostsWithMilestones());
      }
    });
  }

  /** Cost: nothing is written where nothing changes. */
  #settleMilestones(records: RecordCache): void {
    for (const post of records.unsettled.take()) {
      const number = bucketOf(post, this.states.length);
      const bucket = records.openBucket(number);
      const { clock } = this.states[number]!.state;
      for (const { index: metric } of this.metrics.list) {
        const before = bucket.milestones.get(post, metric);
        bucket.homes.settle(post, metric, bucket.post(post) ?? { v: 0, updatedAtMs: 0, metrics: [] });
        const after = bucket.milestones.get(post, metric);
        if (after === before && after !== undefined) records.unsettled.note(post, after);
      }
      if (this.states[number]!.state.clock !== clock) bucket.persistReplication();
    }
  }

  /** Expires registers that every region has, a bounded number at a time, as long as a stable stamp has moved since the last cycle. */
  async #expireRegisters(): Promise<void> {
    const expiry = this.#expiry;
    const stableStamps = this.states.reduce((sum, { state }) => sum + state.stableStamp, 0);
    if (!expiry.hasMore && expiry.stableStamps === stableStamps) return;
    expiry.stableStamps = stableStamps;
    await this.commits.enqueueWrite((records) => {
      const hasFoundAll = records.registerExpiry.findPostsWithRegisters(EXPIRY_POSTS);
      const posts = records.registerExpiry.expireInline(EXPIRY_POSTS);
      expiry.lastChunk = records.registerExpiry.expireChunks(expiry.lastChunk, EXPIRY_CHUNKS);
      expiry.hasMore = !hasFoundAll || posts === EXPIRY_POSTS || expiry.lastChunk !== '';
    });
  }

  /**
   * Replaces the incarnations of a delta by those that records refer to, by index, in the data directory. An error is returned and
   * not thrown, because other writes share the group commit.
   */
  #registerIncarnations(delta: Delta): Delta | Error {
    try {
      const named = delta.posts.flatMap(({ entries }) => entries.map(({ incarnation }) => incarnation));
      const registered = this.directory.registerIncarnations(named);
      let next = 0;
      const posts = delta.posts.map((post): PostDelta => {
        return { ...post, entries: post.entries.map((entry) => ({ ...entry, incarnation: registered[next++]! })) };
      });
      return { ...delta, posts };
    } catch (error) {
      return error as Error;
    }
  }
}
