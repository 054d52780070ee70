import { type Observable, Subject } from 'rxjs';
import type { Clock } from '../../common/clock.js';
import type { Batch, CommitResult, PostCounts } from '../../counters/batch.js';
import { bucketOf } from '../../counters/bucket-of.js';
import type { ActorKeys, Key64 } from '../../counters/ids.js';
import type { PostView, ViewersChange } from '../counter-store.js';
import type { StoreBehindLog } from '../store-behind-log.js';
import { WindowCheck } from '../window-check.js';
import { BatchCommitter } from './batch-committer.js';
import { ChangeScripts } from './change-scripts.js';
import { CounterScripts, type CounterScriptsOptions } from './counter-scripts.js';
import { BucketSweeper } from './bucket-sweeper.js';
import { FAILOVER_LOSS_MAX_MS, type RedisClient } from './client/redis-client.js';
import { NEWS_PREFIX } from './codec/milestones-decoder.js';
import { ReplyDecoder } from './codec/reply-decoder.js';
import type { ViewerReport } from './codec/viewer-report.js';
import { ensureDataCompatible } from './data-compatibility.js';
import { PostReader } from './post-reader.js';
import { PostSubscriptions } from './post-subscriptions.js';
import { RedisChangeStore } from './redis-change-store.js';
import { RedisMilestones } from './redis-milestones.js';
import { RedisReplication } from './replication/redis-replication.js';
import { type ReportOutcome, ViewerReports } from './viewer-reports.js';
import { WatchedRefresh } from './watched-refresh.js';

export interface RedisStoreOptions extends CounterScriptsOptions {
  readonly actorKeys: ActorKeys;
  /** Called once with what an operator has to mend. */
  readonly warn?: (message: string) => void;
}

/**
 * Counters in Redis, shared by any number of gateways. A batch is one script on one server, so that it is applied whole
 * or not at all. Changes by other gateways come through the channels of the posts that are watched here; this gateway's
 * own come with the replies to its commits.
 */
export class RedisStore implements StoreBehindLog {
  readonly #decoder: ReplyDecoder;
  readonly #scripts: CounterScripts;
  readonly #committer: BatchCommitter;
  readonly #reader: PostReader;
  readonly #changes = new Subject<readonly PostCounts[]>();
  readonly #subscriptions: PostSubscriptions;
  readonly #refresh: WatchedRefresh;
  readonly #viewerReports: ViewerReports;
  readonly #sweeper: BucketSweeper;
  readonly #windows: WindowCheck;
  #isClosed = false;

  readonly changes: Observable<readonly PostCounts[]> = this.#changes;
  readonly replayWindowMs = FAILOVER_LOSS_MAX_MS;
  readonly changeStore: RedisChangeStore;
  readonly milestones: RedisMilestones;
  readonly replication: RedisReplication | null;

  /**
   * Opens the store, and records the settings that the data is made with, or checks that they fit.
   * @throws Error with one line that says which setting does not.
   */
  static async open(client: RedisClient, clock: Clock, options: RedisStoreOptions): Promise<RedisStore> {
    await ensureDataCompatible(client, clock, options);
    return new RedisStore(client, clock, options);
  }

  private constructor(
    private readonly client: RedisClient,
    clock: Clock,
    private readonly options: RedisStoreOptions,
  ) {
    const { buckets, metrics, region, hasPeers } = options;
    this.#decoder = new ReplyDecoder(metrics, region);
    this.milestones = new RedisMilestones(client, options);
    this.#scripts = new CounterScripts(client, this.#decoder, options);
    this.#committer = new BatchCommitter(options.metrics, !client.hasSlots, (batches) => this.#scripts.commit(batches));
    this.#reader = new PostReader(this.#scripts, buckets, clock);
    this.#subscriptions = new PostSubscriptions(
      client.pubSub,
      clock,
      (post, message) => this.#deliver(post, message),
      (posts) => void this.#refresh.read(posts),
    );
    this.#refresh = new WatchedRefresh(
      this.#reader,
      clock,
      () => this.#subscriptions.watchedPosts(),
      (counts) => this.#publishLocally(counts),
    );
    this.#viewerReports = new ViewerReports(buckets, {
      report: (bucket, report) => this.#reportViewers(bucket, report),
      readPage: (bucket, cursor) => this.#scripts.readViewers(bucket, cursor),
    });
    this.#windows = new WindowCheck(metrics, (message) => options.warn?.(message));
    this.#sweeper = new BucketSweeper(buckets, clock, (bucket) => this.#sweep(bucket));
    this.changeStore = new RedisChangeStore(new ChangeScripts(client, options), this.#scripts, buckets);
    this.replication = hasPeers ? this.#openReplication(clock) : null;
    client.reconnected.subscribe(() => {
      this.#viewerReports.compareAll();
      void this.#refresh.readAll();
    });
  }

  get description(): { readonly redis: string } {
    return { redis: this.client.url };
  }

  get available(): boolean {
    return this.client.available;
  }

  get allReachable(): boolean {
    return this.client.allReachable;
  }

  get reconnected(): Observable<void> {
    return this.client.reconnected;
  }

  async commit(batch: Batch): Promise<CommitResult> {
    const { result, publishInMs } = this.#decoder.decodeCommit(await this.#committer.commit(batch));
    this.#sweeper.schedulePublish(batch.bucket, publishInMs);
    if (result.kind === 'applied') this.#publishLocally(result.changed);
    return result;
  }

  logPosition(log: string, bucket: number): Promise<number> {
    return this.#scripts.readLogPosition(log, bucket);
  }

  async read(posts: readonly string[], actor: Key64 | null): Promise<PostView[]> {
    await this.#subscriptions.waitUntilSubscribed(posts);
    const views = await this.#reader.read(new Set(posts), actor);
    return posts.map((post) => views.get(post)!);
  }

  watch(post: string): void {
    this.#subscriptions.watch(post, this.#bucketOf(post));
  }

  unwatch(post: string): void {
    this.#subscriptions.unwatch(post);
  }

  reportViewers(changes: ReadonlyMap<string, ViewersChange>): void {
    // The close has withdrawn all viewers.
    if (this.#isClosed) return;
    const buckets = new Set<number>();
    for (const [post, change] of changes) {
      const bucket = this.#bucketOf(post);
      this.#viewerReports.add(bucket, post, change);
      buckets.add(bucket);
    }
    for (const bucket of buckets) void this.#viewerReports.flush(bucket);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#reader.close();
    this.#refresh.close();
    this.#sweeper.close();
    this.#subscriptions.close();
    // Each call has a deadline; while Redis is down they fail at once.
    await this.#viewerReports.withdrawAll();
    this.#changes.complete();
    this.milestones.reached.complete();
    this.replication?.close();
    await this.client.close();
  }

  #openReplication(clock: Clock): RedisReplication {
    return new RedisReplication(this.client, clock, this.options, {
      changed: (counts) => this.#publishLocally(counts),
      publishDue: (bucket, publishInMs) => this.#sweeper.schedulePublish(bucket, publishInMs),
    });
  }

  #bucketOf(post: string): number {
    return bucketOf(post, this.options.buckets);
  }

  /** @throws Error when the message is not one that a gateway publishes */
  #deliver(post: string, message: string): void {
    if (message.startsWith(NEWS_PREFIX)) this.milestones.deliver(post, message);
    else this.#changes.next([this.#decoder.decodePublished(post, message)]);
  }

  #publishLocally(changed: readonly PostCounts[]): void {
    const watched = changed.filter(({ post }) => this.#subscriptions.isWatched(post));
    if (watched.length > 0) this.#changes.next(watched);
  }

  async #reportViewers(bucket: number, report: ViewerReport): Promise<ReportOutcome> {
    const { publishInMs, ...outcome } = await this.#scripts.reportViewers(bucket, report);
    this.#sweeper.schedulePublish(bucket, publishInMs);
    return outcome;
  }

  async #sweep(bucket: number): Promise<number | null> {
    const { publishInMs, stored, previousVisitMarks } = await this.#scripts.sweep(bucket);
    this.#windows.check(previousVisitMarks);
    this.#viewerReports.checkStored(bucket, stored);
    await this.#viewerReports.flush(bucket);
    return publishInMs;
  }
}
