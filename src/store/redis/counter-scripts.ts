import type { Key64 } from '../../counters/ids.js';
import { toRegionNumber } from '../../counters/replication/hybrid-clock.js';
import type { PostView } from '../counter-store.js';
import type { RedisClient } from './client/redis-client.js';
import { sortForScript } from './codec/batch-encoder.js';
import { toDecimalKey } from './codec/key64-decimal.js';
import { type BucketKeys, buildBucketKeys } from './codec/redis-keys.js';
import type { ReplyDecoder } from './codec/reply-decoder.js';
import { decodeViewersPage, encodeViewerReport, type ViewerReport, type ViewersPage } from './codec/viewer-report.js';
import type { ScriptCall } from './scripts/call-coalescer.js';
import { encodeNewIncarnation } from './scripts/incarnation-argument.js';
import type { ReplicationScriptsOptions } from './replication/replication-scripts.js';
import { formatRegions } from './scripts/region-names.js';
import { Script } from './scripts/script.js';
import type { StoredViewers } from './viewer-reports.js';

/** A gateway that does not report for this long is taken for gone, and its viewers with it. Five sweeps. */
const LEASE_MS = 5_000;
/** People that are read at once, about. */
const PEOPLE_PAGE = 500;

export interface CounterScriptsOptions extends ReplicationScriptsOptions {
  readonly buckets: number;
  /** Whether there are other regions. Without, nothing is kept for them. */
  readonly hasPeers: boolean;
}

export interface SweepResult {
  /** Ms until a post of the bucket is due to be published; `null`: none is. */
  readonly publishInMs: number | null;
  /** The viewers of this gateway in Redis. */
  readonly stored: StoredViewers;
}

export interface ReportResult extends SweepResult {
  readonly storedBefore: StoredViewers;
}

/** How scripts name the region; negative where there are no others. */
export function toScriptRegion({ hasPeers, region }: CounterScriptsOptions): number {
  return hasPeers ? toRegionNumber(region) : -1;
}

/** The scripts that a gateway calls for its own clients, as typed methods. */
export class CounterScripts {
  readonly #commitBatches = new Script('commit-batches-n', true);
  readonly #readPosts = new Script('read-posts-2');
  readonly #readLogPosition = new Script('read-log-position-1');
  readonly #openBucket = new Script('open-bucket-1');
  readonly #reportViewers = new Script('report-viewers-6');
  readonly #readViewers = new Script('read-viewers-2', true);
  readonly #sweepBucket = new Script('sweep-bucket-6');
  readonly #keys: readonly BucketKeys[];
  readonly #regionNumber: number;
  readonly #regionNames: string;

  constructor(
    private readonly client: RedisClient,
    private readonly decoder: ReplyDecoder,
    private readonly options: CounterScriptsOptions,
  ) {
    const { buckets, gateway } = options;
    this.#regionNumber = toScriptRegion(options);
    this.#regionNames = formatRegions(options);
    this.#keys = Array.from({ length: buckets }, (_, bucket) => buildBucketKeys(bucket, gateway));
  }

  /** @returns a reply a batch */
  async commit(batches: readonly ScriptCall[]): Promise<readonly Buffer[]> {
    const { metrics, publishIntervalMs } = this.options;
    const [first, ...others] = batches.map(({ bucket }) => this.#keys[bucket]!.bucket);
    const start = [encodeNewIncarnation(this.options), publishIntervalMs, metrics.list.length];
    const args = [
      ...start,
      this.client.hasSlots ? 1 : 0,
      this.#regionNumber,
      this.#regionNames,
      ...batches.map(({ packed }) => packed),
    ];
    return (await this.client.write(this.#commitBatches, [first!, ...others], args)) as Buffer[];
  }

  /** Reads posts of one bucket, in any order. `isCurrent`: the bucket has the run id of this server; else it has to be opened first. */
  async read(
    bucket: number,
    posts: readonly string[],
    actor: Key64 | null,
  ): Promise<{ isCurrent: boolean; views: PostView[] }> {
    const keys = this.#keys[bucket]!;
    const sorted = sortForScript(posts);
    const args = [this.decoder.metricKinds, toDecimalKey(actor), JSON.stringify(sorted)];
    const reply = await this.client.query(this.#readPosts, [keys.bucket, keys.viewers], args);
    return this.decoder.decodeViews(sorted, reply);
  }

  async readLogPosition(log: string, bucket: number): Promise<number> {
    return Number(await this.client.query(this.#readLogPosition, [this.#keys[bucket]!.logPositions], [log]));
  }

  /** Starts a new epoch of the bucket if its server was restarted or replaced. */
  async open(bucket: number): Promise<void> {
    const args = [encodeNewIncarnation(this.options), this.#regionNumber];
    await this.client.query(this.#openBucket, [this.#keys[bucket]!.bucket], args);
  }

  /** Changes the viewers of this gateway in Redis. */
  async reportViewers(bucket: number, report: ViewerReport): Promise<ReportResult> {
    const args = [...this.#publishing, ...encodeViewerReport(report)];
    const reply = await this.client.query(this.#reportViewers, this.#publishingKeys(bucket), args);
    const [posts, people] = (reply as number[]).slice(3) as [number, number];
    return { ...toSweepResult(reply), storedBefore: { posts, people } };
  }

  /**
   * Reads the viewers of this gateway in Redis.
   * @param cursor of the page before; `0` at first
   */
  async readViewers(bucket: number, cursor: string): Promise<ViewersPage> {
    const { gatewayViewers, gatewayPeople } = this.#keys[bucket]!;
    const args = [cursor, PEOPLE_PAGE];
    return decodeViewersPage(await this.client.query(this.#readViewers, [gatewayViewers, gatewayPeople], args));
  }

  /** Publishes what is due, and removes the viewers of gateways that are gone. */
  async sweep(bucket: number): Promise<SweepResult & { readonly previousVisitMarks: number }> {
    const reply = await this.client.query(this.#sweepBucket, this.#publishingKeys(bucket), this.#publishing);
    return { ...toSweepResult(reply), previousVisitMarks: (reply as number[])[3]! };
  }

  get #publishing(): (string | number)[] {
    const { publishIntervalMs, metrics, gateway } = this.options;
    return [publishIntervalMs, metrics.list.length, gateway, LEASE_MS];
  }

  #publishingKeys(bucket: number): [string, ...string[]] {
    const keys = this.#keys[bucket]!;
    return [keys.bucket, keys.viewers, keys.publishAfter, keys.publishDue, keys.gateways, keys.gatewayViewers];
  }
}

function toSweepResult(reply: unknown): SweepResult {
  const [publishInMs, posts, people] = reply as [number, number, number];
  return { publishInMs: publishInMs < 0 ? null : publishInMs, stored: { posts, people } };
}
