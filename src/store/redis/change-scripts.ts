import { pages } from '../../common/grouping.js';
import type { CopyPosition } from '../../counters/changed-posts.js';
import type { ChangePage } from '../change-store.js';
import type { RedisClient } from './client/redis-client.js';
import { type CountsContext, decodeChangePage } from './codec/changed-posts-decoder.js';
import { decodeRecords, type RecordsPage } from './codec/records-decoder.js';
import { buildBucketKeys, buildPositionsKey, LEASES_KEY } from './codec/redis-keys.js';
import { type CounterScriptsOptions, toScriptRegion } from './counter-scripts.js';
import { scriptError } from './scripts/call-coalescer.js';
import { encodeNewIncarnation } from './scripts/incarnation-argument.js';
import { Script } from './scripts/script.js';

/** A gateway that does not renew the lease of a duty for this long loses it. Twice the time after which it is renewed. */
const LEASE_MS = 2_000;
/** Buckets of a call that reads little more than their hashes. */
const CALL_BUCKETS_MAX = 128;
/** Changed posts of a bucket, and of all buckets, that one call reads: some milliseconds of the server's time. */
const CALL_POSTS_MAX = 500;

export interface CollectRequest {
  readonly bucket: number;
  readonly after: number;
}

/** The scripts for copies of the counts in other systems, as typed methods. */
export class ChangeScripts {
  readonly #collect = new Script('collect-changed-posts-n', true);
  readonly #recordingStatus = new Script('recording-status-n');
  readonly #stopRecording = new Script('stop-recording-n');
  readonly #readRecords = new Script('read-records-1', true);
  readonly #acquireLease = new Script('acquire-lease-1');
  readonly #readPositions = new Script('read-positions-1');
  readonly #savePositions = new Script('save-positions-1');
  /** Counts have these beside what is in a record. */
  readonly context: CountsContext;
  /** Keys of the buckets' hashes. */
  readonly #keys: readonly string[];

  constructor(
    private readonly client: RedisClient,
    private readonly options: CounterScriptsOptions,
  ) {
    const { buckets, gateway, region, metrics } = options;
    this.context = { region, metricCount: metrics.list.length };
    this.#keys = Array.from({ length: buckets }, (_, bucket) => buildBucketKeys(bucket, gateway).bucket);
  }

  /** @returns the items in groups of which one call may be about all */
  groupForCalls<T>(items: readonly T[]): T[][] {
    return pages(items, this.client.hasSlots ? 1 : CALL_BUCKETS_MAX);
  }

  /**
   * Waits for replicas, if the store does, so that no copy has what a failover may lose.
   * @param requests those of one call
   * @returns `undefined` for buckets that were not read, because those before them had enough for one call
   */
  async collect(requests: readonly CollectRequest[], limit: number): Promise<(ChangePage | undefined)[]> {
    const { options, client } = this;
    const [first, ...others] = requests.map(({ bucket }) => this.#keys[bucket]!);
    const start = [encodeNewIncarnation(options), toScriptRegion(options), client.hasSlots ? 1 : 0];
    const limits = [Math.min(limit, CALL_POSTS_MAX), CALL_POSTS_MAX];
    const args = [...start, ...limits, ...requests.map(({ after }) => after)];
    const replies = (await client.write(this.#collect, [first!, ...others], args)) as Buffer[];
    return replies.map((reply, i) => {
      if (reply.length === 0) return undefined;
      const error = scriptError(reply);
      if (error !== null) throw error;
      return decodeChangePage(requests[i]!.bucket, reply, this.context);
    });
  }

  async isRecording(): Promise<boolean> {
    const replies = await Promise.all(
      this.groupForCalls(this.#keys).map(([first, ...others]) =>
        this.client.query(this.#recordingStatus, [first!, ...others], []),
      ),
    );
    return replies.flat().includes(1);
  }

  async stopRecording(): Promise<void> {
    const mayMove = this.client.hasSlots ? 1 : 0;
    await Promise.all(
      this.groupForCalls(this.#keys).map(([first, ...others]) =>
        this.client.write(this.#stopRecording, [first!, ...others], [mayMove]),
      ),
    );
  }

  /** The posts of a chunk. */
  async readChunk(bucket: number, chunk: number): Promise<RecordsPage> {
    return decodeRecords(await this.client.query(this.#readRecords, [this.#keys[bucket]!], [chunk, '[]']));
  }

  async acquireLease(duty: string): Promise<boolean> {
    const args = [duty, this.options.gateway, LEASE_MS];
    return (await this.client.query(this.#acquireLease, [LEASES_KEY], args)) === 1;
  }

  async readPositions(copy: string): Promise<Map<number, CopyPosition>> {
    const reply = await this.client.query(this.#readPositions, [buildPositionsKey(copy)], []);
    return new Map(
      pages(reply as string[], 2).map(([bucket, position]) => {
        const [epoch, nonce, upTo, changedAtMs] = position!.split(' ').map(Number) as [number, number, number, number];
        return [Number(bucket), { epoch, nonce, upTo, changedAtMs }];
      }),
    );
  }

  async savePositions(copy: string, positions: ReadonlyMap<number, CopyPosition>): Promise<void> {
    const args = [...positions].map(([bucket, { epoch, nonce, upTo, changedAtMs }]) =>
      [bucket, epoch, nonce, upTo, changedAtMs].join(' '),
    );
    await this.client.write(this.#savePositions, [buildPositionsKey(copy)], args);
  }
}
