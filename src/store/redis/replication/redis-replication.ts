import { Subject } from 'rxjs';
import type { Clock } from '../../../common/clock.js';
import { groupBy } from '../../../common/grouping.js';
import { bucketOf } from '../../../counters/bucket-of.js';
import type { Incarnation } from '../../../counters/pn-counter.js';
import type { Delta, DeltaAck, RemoteToggle } from '../../../counters/replication/delta.js';
import type {
  BucketStatus,
  ChangesRequest,
  FullSyncPage,
  NewIncarnation,
  ReplicatedStore,
} from '../../replicated-store.js';
import type { RedisClient } from '../client/redis-client.js';
import { DeltaMerger, type MergeEvents } from './delta-merger.js';
import { FullSyncPages } from './full-sync-pages.js';
import { MemberReader } from './member-reader.js';
import { ReplicationScripts, type ReplicationScriptsOptions } from './replication-scripts.js';

export interface RedisReplicationOptions extends ReplicationScriptsOptions {
  readonly buckets: number;
}

/** Replication of the counters in Redis. docs/redis-keys.md describes its keys. */
export class RedisReplication implements ReplicatedStore {
  readonly losesCommitsOnFailover = true;
  readonly remoteToggles = new Subject<readonly RemoteToggle[]>();
  readonly #scripts: ReplicationScripts;
  readonly #fullSync: FullSyncPages;
  readonly #merger: DeltaMerger;
  readonly #allBuckets: readonly number[];

  constructor(
    client: RedisClient,
    clock: Clock,
    { buckets, ...options }: RedisReplicationOptions,
    events: Omit<MergeEvents, 'toggled'>,
  ) {
    const { region, metrics } = options;
    this.#allBuckets = Array.from({ length: buckets }, (_, bucket) => bucket);
    this.#scripts = new ReplicationScripts(client, options);
    const members = new MemberReader(this.#scripts, metrics);
    this.#fullSync = new FullSyncPages(this.#scripts, members, region, metrics);
    this.#merger = new DeltaMerger(this.#scripts, members, clock, options, {
      ...events,
      toggled: (toggles) => this.remoteToggles.next(toggles),
    });
  }

  acquireLeases(wallMs: number): Promise<readonly number[]> {
    return this.#scripts.acquireLeases(this.#allBuckets, wallMs);
  }

  async bucketStatus(buckets: readonly number[]): Promise<readonly BucketStatus[]> {
    const all = await this.#scripts.bucketStatus(buckets);
    return all.map(({ epoch, nonce, clock, recoveredUpTo, backfilling, syncedFrom }) => {
      return { epoch, nonce, clock, recoveredUpTo, backfilling, syncedFrom };
    });
  }

  async changesSince(
    requests: readonly ChangesRequest[],
    peers: readonly string[],
    limit: number,
  ): Promise<readonly (Delta | null)[]> {
    const deltas = new Map<ChangesRequest, Delta | null>();
    const groups = this.#scripts.hasSlots ? requests.map((request) => [request]) : [requests];
    await Promise.all(
      groups.map(async (group) => {
        for (let left = group; left.length > 0; left = left.filter((request) => !deltas.has(request))) {
          const read = await this.#scripts.changesSince(left, peers, limit);
          for (const [i, request] of left.entries()) if (read[i] !== undefined) deltas.set(request, read[i]);
        }
      }),
    );
    return requests.map((request) => deltas.get(request)!);
  }

  observeIncarnations(
    region: string,
    incarnations: readonly (readonly [bucket: number, incarnation: Incarnation])[],
  ): Promise<readonly boolean[]> {
    return this.#scripts.observeIncarnations(region, incarnations);
  }

  fullSyncPage(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<FullSyncPage> {
    return this.#fullSync.readPage(buckets, cursor, limit);
  }

  async readPosts(posts: readonly string[]): Promise<readonly Delta[]> {
    const deltas = new Map<string, Delta>();
    for (const [bucket, some] of groupBy(posts, (post) => bucketOf(post, this.#allBuckets.length))) {
      for (const delta of await this.#fullSync.readPosts(bucket, some)) deltas.set(delta.posts[0]!.post, delta);
    }
    return posts.map((post) => deltas.get(post)!);
  }

  /** Deltas of a bucket one after the other, buckets at the same time. */
  async merge(deltas: readonly Delta[]): Promise<readonly DeltaAck[]> {
    const acks = new Map<Delta, DeltaAck>();
    await Promise.all(
      [...groupBy(deltas, ({ bucket }) => bucket).values()].map(async (ofBucket) => {
        for (const delta of ofBucket) acks.set(delta, await this.#merger.merge(delta));
      }),
    );
    return deltas.map((delta) => acks.get(delta)!);
  }

  async startIncarnation(buckets: readonly number[], incarnation: NewIncarnation): Promise<void> {
    await this.#scripts.startIncarnation(buckets, incarnation);
  }

  async completeBackfill(buckets: readonly number[]): Promise<void> {
    await this.#scripts.completeBackfill(buckets);
  }

  close(): void {
    this.remoteToggles.complete();
  }
}
