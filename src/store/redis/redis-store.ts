import { type Observable, Subject } from 'rxjs';
import type { Clock, Timer } from '../../common/clock.js';
import { sleep } from '../../common/sleep.js';
import type { Batch, CommitResult, PostCounts } from '../../counters/batch.js';
import { type ActorKeys, bucketOf, type Key64 } from '../../counters/ids.js';
import type { Metrics } from '../../counters/metrics.js';
import { toRegionNumber } from '../../counters/replication/hybrid-clock.js';
import type { CounterStore, PostView } from '../counter-store.js';
import { sortForScript } from './codec/batch-encoder.js';
import { ReplyDecoder } from './codec/reply-decoder.js';
import { toDecimalKey } from './codec/decimal-key.js';
import { ensureDataCompatible } from './data-compatibility.js';
import { BatchCommitter } from './batch-committer.js';
import type { RedisClient } from './client/redis-client.js';
import { type BucketKeys, buildBucketKeys } from './codec/redis-keys.js';
import { encodeNewIncarnation } from './scripts/new-life.js';
import { RedisReplication } from './replication/redis-replication.js';
import { Script } from './scripts/script.js';
import type { ScriptCall } from './scripts/call-coalescer.js';
import { ViewerReports } from './viewer-reports.js';
import { BucketSweeper } from './bucket-sweeper.js';
import { PostSubscriptions } from './post-subscriptions.js';

/** A gateway that tells nothing for this long is gone, and its viewers with it. Five sweeps. */
const LEASE_MS = 5_000;
/** Pub/sub loses messages: what is watched is read again after each such time. */
const READ_AGAIN_MS = 3_000;
/** Posts read by one call, so that no script keeps the server for more than about a millisecond. */
const READ_MAX = 250;

/** How long a read is tried, which each time may take as long as a command; less than a client waits for an operation. */
const READ_WITHIN_MS = 3_000;
const READ_PAUSE_MS = 100;

export interface RedisStoreOptions {
  readonly metrics: Metrics;
  readonly buckets: number;
  readonly actorKeys: ActorKeys;
  readonly region: string;
  /** Whether there are other regions. Without, nothing is kept for them. */
  readonly hasPeers: boolean;
  /** Names this gateway life among those that share the store. */
  readonly gateway: string;
  /** Least time between two announcements of a post, ms. */
  readonly publishIntervalMs: number;
  /** 32 random bits for an epoch that begins. */
  readonly nonce: () => number;
  /** Wall time that a life begins with, ms since 1970; guarded against jumps. */
  readonly wallMs: () => number;
}

/**
 * Counters in Redis, shared by any number of gateways. A batch is one script on one server, so that it is applied whole
 * or not at all. What other gateways do comes by the channels of the posts that are watched here; what this one does is
 * told to its own watchers with the commit's answer.
 */
export class RedisStore implements CounterStore {
  readonly #commit = new Script('commit-batches-n', true);
  readonly #read = new Script('read-posts-2');
  readonly #open = new Script('open-bucket-1');
  readonly #report = new Script('report-viewers-6');
  readonly #sweep = new Script('sweep-bucket-6');
  readonly #keys: readonly BucketKeys[];
  /** By which scripts know the region; negative where there are no others. */
  readonly #regionNumber: number;
  readonly #codec: ReplyDecoder;
  readonly #commits: BatchCommitter;
  readonly #changes = new Subject<readonly PostCounts[]>();
  readonly #watching: PostSubscriptions;
  readonly #shares: ViewerReports;
  readonly #upkeep: BucketSweeper;
  #readTimer: Timer | null = null;
  #reading = false;
  #unread = false;
  #closed = false;

  readonly changes: Observable<readonly PostCounts[]> = this.#changes;
  /** `null` where there are no other regions. */
  readonly replication: RedisReplication | null;

  /**
   * Writes down what the data is made with, or checks that it fits.
   * @throws Error with one line that says what does not.
   */
  static async open(connections: RedisClient, clock: Clock, options: RedisStoreOptions): Promise<RedisStore> {
    await ensureDataCompatible(connections, clock, options);
    return new RedisStore(connections, clock, options);
  }

  private constructor(
    private readonly connections: RedisClient,
    private readonly clock: Clock,
    private readonly options: RedisStoreOptions,
  ) {
    const { buckets, gateway, metrics, region, hasPeers: regional } = options;
    this.#regionNumber = regional ? toRegionNumber(region) : -1;
    this.#keys = Array.from({ length: buckets }, (_, bucket) => buildBucketKeys(bucket, gateway));
    this.#codec = new ReplyDecoder(metrics, region);
    this.#commits = new BatchCommitter(!connections.hasSlots, (batches) => this.#commitAll(batches));
    this.#watching = new PostSubscriptions(
      connections.pubSub,
      clock,
      (post, message) => this.#changes.next([this.#codec.decodePublished(post, message)]),
      (posts) => void this.#readAgain(posts),
    );
    this.#shares = new ViewerReports(buckets, (bucket, shares, all) => this.#reportShares(bucket, shares, all));
    this.#upkeep = new BucketSweeper(buckets, clock, (bucket) => this.#sweepBucket(bucket));
    this.replication = regional ? this.#openRegions() : null;
    connections.reconnected.subscribe(() => {
      this.#shares.requestFullReport();
      void this.#readWatched();
    });
    this.#readLater();
  }

  get available(): boolean {
    return this.connections.available;
  }

  get allReachable(): boolean {
    return this.connections.allReachable;
  }

  get reconnected(): Observable<void> {
    return this.connections.reconnected;
  }

  async commit(batch: Batch): Promise<CommitResult> {
    const { result, publishInMs: dueInMs } = this.#codec.decodeCommit(await this.#commits.commit(batch));
    this.#upkeep.schedulePublish(batch.bucket, dueInMs);
    if (result.kind === 'applied') this.#tell(result.changed);
    return result;
  }

  async read(posts: readonly string[], actor: Key64 | null): Promise<PostView[]> {
    await this.#watching.waitUntilSubscribed(posts);
    const found = new Map<string, PostView>();
    await Promise.all(
      this.#parts(new Set(posts)).map(async (part) => {
        for (const view of await this.#readInTime(part, actor)) found.set(view.counts.post, view);
      }),
    );
    return posts.map((post) => found.get(post)!);
  }

  watch(post: string): void {
    this.#watching.watch(post, this.#bucketOf(post));
  }

  unwatch(post: string): void {
    this.#watching.unwatch(post);
  }

  reportViewers(viewers: ReadonlyMap<string, number>): void {
    // What has been taken back stays so.
    if (this.#closed) return;
    const touched = new Set<number>();
    for (const [post, connections] of viewers) {
      const bucket = this.#bucketOf(post);
      this.#shares.set(bucket, post, connections);
      touched.add(bucket);
    }
    for (const bucket of touched) void this.#shares.flush(bucket);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#readTimer?.cancel();
    this.#upkeep.close();
    this.#watching.close();
    // Each call has a deadline; while Redis is away they fail at once.
    await this.#shares.withdrawAll();
    this.#changes.complete();
    this.replication?.close();
    await this.connections.close();
  }

  #openRegions(): RedisReplication {
    return new RedisReplication(this.connections, this.clock, this.options, {
      changed: (counts) => this.#tell(counts),
      publishDue: (bucket, dueInMs) => this.#upkeep.schedulePublish(bucket, dueInMs),
    });
  }

  async #commitAll(batches: readonly ScriptCall[]): Promise<readonly Buffer[]> {
    const { metrics, publishIntervalMs: publishMs } = this.options;
    const [first, ...others] = batches.map(({ bucket }) => this.#keys[bucket]!.bucket);
    const slots = this.connections.hasSlots ? 1 : 0;
    const about = [encodeNewIncarnation(this.options), publishMs, metrics.list.length, slots, this.#regionNumber];
    const packed = batches.map((batch) => batch.packed);
    return (await this.connections.write(this.#commit, [first!, ...others], [...about, ...packed])) as Buffer[];
  }

  #bucketOf(post: string): number {
    return bucketOf(post, this.options.buckets);
  }

  #tell(changed: readonly PostCounts[]): void {
    const watched = changed.filter(({ post }) => this.#watching.isWatched(post));
    if (watched.length > 0) this.#changes.next(watched);
  }

  /** The posts, by bucket, in parts that one call reads. */
  #parts(posts: Iterable<string>): string[][] {
    const open = new Map<number, string[]>();
    const parts: string[][] = [];
    for (const post of posts) {
      const bucket = this.#bucketOf(post);
      let part = open.get(bucket);
      if (part === undefined || part.length === READ_MAX) {
        open.set(bucket, (part = []));
        parts.push(part);
      }
      part.push(post);
    }
    return parts;
  }

  /** A failover, or a slot that moves, is a pause and not an error. */
  async #readInTime(posts: readonly string[], actor: Key64 | null): Promise<PostView[]> {
    const endMs = this.clock.nowMs() + READ_WITHIN_MS;
    for (;;) {
      try {
        return await this.#readPart(posts, actor);
      } catch (error) {
        if (this.#closed || this.clock.nowMs() > endMs) throw error;
      }
      await sleep(this.clock, READ_PAUSE_MS);
    }
  }

  /** In any order. */
  async #readPart(posts: readonly string[], actor: Key64 | null): Promise<PostView[]> {
    const keys = this.#keys[this.#bucketOf(posts[0]!)]!;
    const ordered = sortForScript(posts);
    const ask = async () => {
      const args = [this.#codec.metricKinds, toDecimalKey(actor), JSON.stringify(ordered)];
      return this.#codec.decodeViews(
        ordered,
        await this.connections.query(this.#read, [keys.bucket, keys.viewers], args),
      );
    };
    const { isCurrent: current, views } = await ask();
    if (current) return views;
    await this.connections.query(this.#open, [keys.bucket], [encodeNewIncarnation(this.options), this.#regionNumber]);
    return (await ask()).views;
  }

  #readLater(): void {
    if (this.#closed) return;
    this.#readTimer = this.clock.after(READ_AGAIN_MS, () => {
      void this.#readWatched().then(() => this.#readLater());
    });
  }

  /** One reading of all at a time: a slot after the other may tell that it has moved. */
  async #readWatched(): Promise<void> {
    this.#unread = true;
    if (this.#reading) return;
    this.#reading = true;
    while (this.#unread && !this.#closed) {
      this.#unread = false;
      await this.#readAgain([...this.#watching.posts()]);
    }
    this.#reading = false;
  }

  /** One part after the other: nobody waits for it. While Redis is away it ends at once, and READ_AGAIN_MS later it is tried again. */
  async #readAgain(posts: readonly string[]): Promise<void> {
    try {
      for (const part of this.#parts(posts)) {
        const views = await this.#readPart(part, null);
        this.#tell(views.map(({ counts }) => counts));
      }
    } catch {
      // As said above.
    }
  }

  async #reportShares(bucket: number, shares: readonly (readonly [string, number])[], all: boolean): Promise<void> {
    const keys = this.#keys[bucket]!;
    const { publishIntervalMs: publishMs, metrics } = this.options;
    const dueInMs = await this.connections.query(
      this.#report,
      [keys.bucket, keys.viewers, keys.publishAfter, keys.publishDue, keys.gateways, keys.gatewayViewers],
      [publishMs, metrics.list.length, this.options.gateway, LEASE_MS, all ? 1 : 0, JSON.stringify(shares.flat())],
    );
    this.#upkeep.schedulePublish(bucket, Number(dueInMs) < 0 ? null : Number(dueInMs));
  }

  async #sweepBucket(bucket: number): Promise<number | null> {
    const keys = this.#keys[bucket]!;
    const { publishIntervalMs: publishMs, metrics, gateway } = this.options;
    const [dueInMs, posts] = (await this.connections.query(
      this.#sweep,
      [keys.bucket, keys.viewers, keys.publishAfter, keys.publishDue, keys.gateways, keys.gatewayViewers],
      [publishMs, metrics.list.length, gateway, LEASE_MS],
    )) as [number, number];
    this.#shares.checkPostCount(bucket, posts);
    await this.#shares.flush(bucket);
    return dueInMs < 0 ? null : dueInMs;
  }
}
