import { type Observable, Subject } from 'rxjs';
import type { PostCounts } from '../../counters/batch.js';
import { bucketOf } from '../../counters/ids.js';
import { mergeDelta } from '../../counters/replication/merge-delta.js';
import type { Metrics } from '../../counters/metrics.js';
import type { Incarnation, RegionIncarnation } from '../../counters/pn-counter.js';
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
import type { RecordCache } from './record-cache.js';

/** Ids that a scan reads for each post that is in one of its buckets: 4,000 take some milliseconds. */
const IDS_A_POST_MAX = 8;
/** Chunks of registers that are looked at by one group commit. */
const DROP_CHUNKS = 64;
/** The same of posts whose records hold some. */
const DROP_POSTS = 500;

/** What regions need of the store that they are a part of. */
export interface EmbeddedAccess {
  readonly buckets: number;
  readonly metrics: Metrics;
  /** Runs within the next group commit, with what changes in it; resolves when that is synced. */
  write<T>(change: (records: RecordCache) => T): Promise<T>;
  /** Runs when all that is in memory is committed. */
  look<T>(read: (records: RecordCache) => T): Promise<T>;
  /** Announces them when the group commit that runs is synced. */
  tell(changed: readonly PostCounts[]): void;
  /** As records refer to them. @throws Error if they are too many */
  known(lives: readonly RegionIncarnation[]): readonly RegionIncarnation[];
  /** Begins a life of the own region, in all buckets. */
  beginLife(epoch: number): void;
}

/** The embedded store among other regions: the functions of src/counters over its buckets. */
export class EmbeddedReplication implements ReplicatedStore {
  /** What was synced stays: a life begins only where the data comes from a copy, or from nothing. */
  readonly losesCommitsOnFailover = false;
  readonly #toggled = new Subject<readonly RemoteToggle[]>();
  readonly remoteToggles: Observable<readonly RemoteToggle[]> = this.#toggled;
  readonly #dropped = { more: false, at: '', floor: -1 };

  constructor(
    private readonly access: EmbeddedAccess,
    private readonly regionals: readonly ReplicationState[],
  ) {}

  acquireLeases(): Promise<readonly number[]> {
    return Promise.resolve(this.regionals.map((_, bucket) => bucket));
  }

  bucketStatus(buckets: readonly number[]): Promise<readonly BucketStatus[]> {
    return this.access.look((records) => {
      const { epoch, nonce } = records.incarnation;
      return buckets.map((bucket) => {
        const { clock, recoveredUpTo, backfilling, syncedFrom } = this.regionals[bucket]!.state;
        return { epoch, nonce, clock, recoveredUpTo, backfilling, syncedFrom };
      });
    });
  }

  async changesSince(
    asked: readonly ChangesRequest[],
    peers: readonly string[],
    limit: number,
  ): Promise<readonly (Delta | null)[]> {
    const shipments = await this.access.look((records) =>
      asked.map(({ bucket: number, after, ackedUpTo: confirmed }) => {
        this.regionals[number]!.advanceStability(confirmed, peers);
        return buildDelta(number, records.bucket(number), after, limit);
      }),
    );
    await this.#drop();
    return shipments;
  }

  observeIncarnations(
    region: string,
    lives: readonly (readonly [bucket: number, life: Incarnation])[],
  ): Promise<readonly boolean[]> {
    return this.access.write((records) =>
      lives.map(([number, life]) => {
        records.bucket(number).persistReplication();
        return this.regionals[number]!.observeIncarnation(region, life);
      }),
    );
  }

  fullSyncPage(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<FullSyncPage> {
    return this.access.look((records) => {
      const share = Math.min(IDS_A_POST_MAX, this.access.buckets / buckets.size);
      const idsMax = Math.ceil(limit * share);
      const ids = records.listPostsAfter(cursor, idsMax);
      const posts = new Map<number, PostDelta[]>();
      for (const id of ids) {
        const number = bucketOf(id, this.access.buckets);
        if (!buckets.has(number)) continue;
        const scanned = buildFullPost(records.bucket(number), this.access.metrics, id);
        posts.set(number, [...(posts.get(number) ?? []), scanned]);
      }
      const deltas = [...posts].map(([number, scanned]) => {
        return { ...emptyDelta('full-sync', number, records.bucket(number), 0), posts: scanned };
      });
      return { deltas, next: ids.length < idsMax ? null : ids.at(-1)! };
    });
  }

  readPosts(posts: readonly string[]): Promise<readonly Delta[]> {
    return this.access.look((records) =>
      posts.map((post) => {
        const number = bucketOf(post, this.access.buckets);
        const bucket = records.bucket(number);
        const shown = { ...buildFullPost(bucket, this.access.metrics, post), members: [] };
        return { ...emptyDelta('full-sync', number, bucket, 0), posts: [shown] };
      }),
    );
  }

  async merge(shipments: readonly Delta[]): Promise<readonly DeltaAck[]> {
    const merged = await this.access.write((records) =>
      shipments.map((shipment) => {
        const known = this.#known(shipment);
        if (known instanceof Error) return known;
        const one = mergeDelta(records.bucket(shipment.bucket), this.access.metrics, known);
        this.access.tell(one.changed);
        return one;
      }),
    );
    const toggled = merged.flatMap((one) => (one instanceof Error ? [] : one.remoteToggles));
    if (toggled.length > 0) this.#toggled.next(toggled);
    return merged.map((one) => {
      if (one instanceof Error) throw one;
      return one.ack;
    });
  }

  startIncarnation(
    buckets: readonly number[],
    { epoch, clock, needsBackfill: fills, rewindsClock: comesBack }: NewIncarnation,
  ): Promise<void> {
    return this.access.write((records) => {
      const before = records.incarnation;
      if (before.epoch <= epoch) this.access.beginLife(epoch + 1);
      for (const number of buckets) {
        const { state } = this.regionals[number]!;
        if (comesBack) {
          rewindClock(records.bucket(number), clock);
          records.resetClock(number);
        } else if (state.startedAtStamp < clock) restamp(records.bucket(number), state.startedAtStamp, clock);
        state.backfilling ||= fills;
      }
      // All buckets count in the same life.
      const begun = records.incarnation === before ? (fills ? buckets : []) : this.regionals.keys();
      for (const number of begun) this.regionals[number]!.startIncarnation(before);
      for (const number of this.regionals.keys()) records.bucket(number).persistReplication();
    });
  }

  completeBackfill(buckets: readonly number[]): Promise<void> {
    return this.access.write((records) => {
      for (const number of buckets) {
        const { state } = this.regionals[number]!;
        state.backfilling = false;
        state.recoveredUpTo = state.clock;
        records.bucket(number).persistReplication();
      }
    });
  }

  /** Drops registers that all regions know, a bounded part at a time, as long as the floor has moved since the last round. */
  async #drop(): Promise<void> {
    const dropped = this.#dropped;
    const floor = this.regionals.reduce((sum, { state }) => sum + state.stableStamp, 0);
    if (!dropped.more && dropped.floor === floor) return;
    dropped.floor = floor;
    await this.access.write((records) => {
      const isSought = records.findPostsWithRegisters(DROP_POSTS);
      const inRecords = records.expireInline(DROP_POSTS);
      dropped.at = records.expireChunks(dropped.at, DROP_CHUNKS);
      dropped.more = !isSought || inRecords === DROP_POSTS || dropped.at !== '';
    });
  }

  /** Records refer to lives by their place in a table. An error is returned: others share the group commit. */
  #known(shipment: Delta): Delta | Error {
    try {
      const lives = this.access.known(
        shipment.posts.flatMap(({ entries }) => entries.map(({ incarnation: replica }) => replica)),
      );
      let next = 0;
      const posts = shipment.posts.map((post) => {
        return { ...post, entries: post.entries.map((entry) => ({ ...entry, incarnation: lives[next++]! })) };
      });
      return { ...shipment, posts };
    } catch (error) {
      return error as Error;
    }
  }
}
