import { NEVER, type Observable, Subject } from 'rxjs';
import { apply, COUNTING_RULES } from '../../src/counters/apply.js';
import type { Batch, CommitResult, PostCounts } from '../../src/counters/batch.js';
import { buildCounts } from '../../src/counters/bucket.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import type { Key64 } from '../../src/counters/ids.js';
import { type CompareIncarnations, mergeDelta } from '../../src/counters/replication/merge-delta.js';
import type { Metrics } from '../../src/counters/metrics.js';
import { type Incarnation, compareIncarnations, type RegionIncarnation } from '../../src/counters/pn-counter.js';
import { newReplicationState, ReplicationState } from '../../src/counters/replication/replication-state.js';
import {
  buildDelta,
  rewindClock,
  emptyDelta,
  restamp,
  buildFullPost,
} from '../../src/counters/replication/build-delta.js';
import type { DeltaAck, Delta, RemoteToggle } from '../../src/counters/replication/delta.js';
import { HOME_RULES } from '../../src/counters/replication/home-rules.js';
import { firstStampAt } from '../../src/counters/replication/hybrid-clock.js';
import type { PostView } from '../../src/store/counter-store.js';
import type { StoreBehindLog } from '../../src/store/store-behind-log.js';
import type {
  ChangesRequest,
  BucketStatus,
  NewIncarnation,
  ReplicatedStore,
  FullSyncPage,
} from '../../src/store/replicated-store.js';
import { MemoryBucket, type RegionRules } from './memory-bucket.js';
import { MemoryMilestones } from './memory-milestones.js';
import { CHANGE_RECORD_RULES } from './memory-change-record.js';
import { ReferenceChangeStore } from './reference-change-store.js';
import { ReferenceMilestones } from './reference-milestones.js';

/** `apply`, `mergeDelta` and their companions over buckets in memory: the meaning that every store has to equal. */
export class ReferenceStore implements StoreBehindLog, ReplicatedStore {
  readonly changes = new Subject<readonly PostCounts[]>();
  readonly remoteToggles = new Subject<readonly RemoteToggle[]>();
  readonly reconnected: Observable<void> = NEVER;
  readonly available = true;
  readonly allReachable = true;
  readonly replayWindowMs = 0;
  readonly description = {};
  readonly changeStore: ReferenceChangeStore;
  readonly milestones: ReferenceMilestones;
  readonly losesCommitsOnFailover = true;
  #buckets: readonly MemoryBucket[];
  readonly #watched = new Set<string>();

  constructor(
    private readonly metrics: Metrics,
    buckets: number,
    private readonly incarnation: RegionIncarnation,
    /** Nonces of new incarnations; `null` without other regions. */
    private readonly nonce: (() => number) | null = null,
    private readonly order: CompareIncarnations = compareIncarnations,
    private readonly rules = COUNTING_RULES,
    private readonly changeRecords = CHANGE_RECORD_RULES,
    /** The clock by whose time records of milestones become final. */
    private readonly nowMs: () => number = () => 0,
    private readonly regions: Omit<RegionRules, 'metrics'> = { peers: [], rules: HOME_RULES },
  ) {
    const newReplication = (): ReplicationState | null =>
      nonce && new ReplicationState(incarnation.region, newReplicationState(0));
    this.#buckets = Array.from(
      { length: buckets },
      () => new MemoryBucket(incarnation, newReplication(), { ...regions, metrics }),
    );
    for (const bucket of this.#buckets) bucket.milestones = new MemoryMilestones(nowMs, regions.isDurable);
    this.milestones = new ReferenceMilestones(
      () => this.#buckets,
      (post) => this.#watched.has(post),
    );
    const publish = (changed: readonly PostCounts[]): void => this.#publish(changed);
    this.changeStore = new ReferenceChangeStore(() => this.#buckets, metrics, changeRecords, publish);
  }

  get buckets(): readonly MemoryBucket[] {
    return this.#buckets;
  }

  /** A store with the same contents that watches no post. */
  copy(): ReferenceStore {
    const { metrics, incarnation, nonce, order, rules, changeRecords, nowMs, regions } = this;
    const { length } = this.#buckets;
    const copy = new ReferenceStore(metrics, length, incarnation, nonce, order, rules, changeRecords, nowMs, regions);
    copy.#buckets = this.#buckets.map((bucket) => bucket.copy());
    copy.changeStore.copyPositions(this.changeStore);
    return copy;
  }

  /** As a store does long after a producer's last batch. */
  forgetProducerStates(): void {
    for (const bucket of this.#buckets) bucket.forgetProducerStates();
  }

  commit(batch: Batch): Promise<CommitResult> {
    const result = apply(this.#buckets[batch.bucket]!, this.metrics, batch, this.rules);
    if (result.kind === 'applied') this.#publish(result.changed);
    this.milestones.publish(this.#buckets[batch.bucket]!);
    return Promise.resolve(result);
  }

  logPosition(log: string, bucket: number): Promise<number> {
    return Promise.resolve(this.#buckets[bucket]!.logPosition(log));
  }

  read(posts: readonly string[], actor: Key64 | null): Promise<PostView[]> {
    return Promise.resolve(posts.map((post) => this.#view(post, actor)));
  }

  watch(post: string): void {
    this.#watched.add(post);
  }

  unwatch(post: string): void {
    this.#watched.delete(post);
  }

  reportViewers(): void {}

  /** This store serves both ports. */
  get replication(): ReplicatedStore | null {
    return this.nonce === null ? null : this;
  }

  acquireLeases(wallMs: number): Promise<readonly number[]> {
    for (const bucket of this.#buckets) {
      bucket.replication.receive(firstStampAt(wallMs));
      for (const post of bucket.listPostsWithMilestones()) {
        for (const { index } of this.metrics.list)
          bucket.homes.settle(post, index, bucket.post(post) ?? { v: 0, updatedAtMs: 0, metrics: [] });
      }
    }
    return Promise.resolve(this.#buckets.map((_, number) => number));
  }

  bucketStatus(buckets: readonly number[]): Promise<readonly BucketStatus[]> {
    return Promise.resolve(
      buckets.map((number) => {
        const { incarnation, replication } = this.#buckets[number]!;
        const { clock, recoveredUpTo, backfilling, syncedFrom } = replication.state;
        return { epoch: incarnation.epoch, nonce: incarnation.nonce, clock, recoveredUpTo, backfilling, syncedFrom };
      }),
    );
  }

  changesSince(
    requests: readonly ChangesRequest[],
    peers: readonly string[],
    limit: number,
  ): Promise<readonly (Delta | null)[]> {
    return Promise.resolve(
      requests.map(({ bucket: number, after, ackedUpTo }) => {
        const bucket = this.#buckets[number]!;
        bucket.replication.advanceStability(ackedUpTo, peers);
        bucket.dropStableRegisters();
        return buildDelta(number, bucket, after, limit);
      }),
    );
  }

  observeIncarnations(
    region: string,
    incarnations: readonly (readonly [bucket: number, incarnation: Incarnation])[],
  ): Promise<readonly boolean[]> {
    return Promise.resolve(
      incarnations.map(([number, incarnation]) =>
        this.#buckets[number]!.replication.observeIncarnation(region, incarnation),
      ),
    );
  }

  fullSyncPage(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<FullSyncPage> {
    const [number = 0, at = 0] = cursor === '' ? [] : cursor.split(' ').map(Number);
    if (number >= this.#buckets.length) return Promise.resolve({ deltas: [], next: null });
    const bucket = this.#buckets[number]!;
    const posts = buckets.has(number) ? bucket.posts.slice(at, at + limit) : [];
    const next = posts.length < limit ? `${number + 1} 0` : `${number} ${at + limit}`;
    const delta = emptyDelta('full-sync', number, bucket, 0);
    const full = posts.map((post) => buildFullPost(bucket, this.metrics, post));
    return Promise.resolve({ deltas: full.length > 0 ? [{ ...delta, posts: full }] : [], next });
  }

  readPosts(posts: readonly string[]): Promise<readonly Delta[]> {
    return Promise.resolve(
      posts.map((post) => {
        const number = bucketOf(post, this.#buckets.length);
        const bucket = this.#buckets[number]!;
        const full = { ...buildFullPost(bucket, this.metrics, post), members: [] };
        return { ...emptyDelta('full-sync', number, bucket, 0), posts: [full] };
      }),
    );
  }

  /** Rejects when one of the deltas cannot be merged; the others are. */
  merge(deltas: readonly Delta[]): Promise<readonly DeltaAck[]> {
    return Promise.all(deltas.map(async (delta) => Promise.resolve(this.#merge(delta))));
  }

  #merge(delta: Delta): DeltaAck {
    const bucket = this.#buckets[delta.bucket]!;
    const { ack, changed, remoteToggles } = mergeDelta(bucket, this.metrics, delta, this.order);
    this.#publish(changed);
    if (remoteToggles.length > 0) this.remoteToggles.next(remoteToggles);
    return ack;
  }

  startIncarnation(
    buckets: readonly number[],
    { epoch, clock, needsBackfill, rewindsClock }: NewIncarnation,
  ): Promise<void> {
    for (const number of buckets) {
      const bucket = this.#buckets[number]!;
      const { incarnation } = bucket;
      const { state } = bucket.replication;
      if (incarnation.epoch <= epoch) bucket.incarnation = { ...incarnation, epoch: epoch + 1, nonce: this.nonce!() };
      if (rewindsClock) rewindClock(bucket, clock);
      else if (state.startedAtStamp < clock) restamp(bucket, state.startedAtStamp, clock);
      if (needsBackfill && !state.backfilling) state.backfilling = true;
      if (needsBackfill || incarnation !== bucket.incarnation) bucket.replication.startIncarnation(incarnation);
    }
    return Promise.resolve();
  }

  completeBackfill(buckets: readonly number[]): Promise<void> {
    for (const number of buckets) {
      const { state } = this.#buckets[number]!.replication;
      state.backfilling = false;
      state.recoveredUpTo = state.clock;
      const bucket = this.#buckets[number]!;
      bucket.homes.exchange.shipAgain(bucket.listPostsWithMilestones());
    }
    return Promise.resolve();
  }

  get registerCount(): number {
    return this.#buckets.reduce((sum, bucket) => sum + bucket.registerCount, 0);
  }

  /** Stamp of the actor's latest update. */
  registerStamp(post: string, metric: number, actor: Key64): number {
    return this.#buckets[bucketOf(post, this.#buckets.length)]!.registerStamp(post, metric, actor);
  }

  /** As a store does that was restarted, perhaps without its last commits, on a machine with this wall time. */
  restart(wallMs: number): void {
    for (const bucket of this.#buckets) {
      const { incarnation } = bucket;
      bucket.incarnation = { ...incarnation, epoch: incarnation.epoch + 1, nonce: this.nonce!() };
      bucket.replication.restart(incarnation, wallMs);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #publish(changed: readonly PostCounts[]): void {
    const watched = changed.filter(({ post }) => this.#watched.has(post));
    if (watched.length > 0) this.changes.next(watched);
  }

  #view(post: string, actor: Key64 | null): PostView {
    const bucket = this.#buckets[bucketOf(post, this.#buckets.length)]!;
    let on = 0;
    for (const { kind, index } of this.metrics.list) {
      if (actor !== null && kind.hasMembers && bucket.hasMember(post, index, actor)) on |= 1 << index;
    }
    return { counts: buildCounts(post, bucket.epoch, bucket.post(post), this.metrics), on };
  }
}
