import { pages } from '../../../common/grouping.js';
import type { Key64 } from '../../../counters/ids.js';
import type { Metrics } from '../../../counters/metrics.js';
import type { Incarnation } from '../../../counters/pn-counter.js';
import type { Delta, ToggleRegister } from '../../../counters/replication/delta.js';
import { toRegionNumber } from '../../../counters/replication/hybrid-clock.js';
import type { ChangesRequest, NewIncarnation } from '../../replicated-store.js';
import type { RedisClient } from '../client/redis-client.js';
import type { ScriptArguments } from '../client/server.js';
import { parseDecimalKey } from '../codec/key64-decimal.js';
import { decodeChanges, decodeStatus, type ReplicationStatus } from '../codec/delta-decoder.js';
import { MsgpackWriter } from '../codec/msgpack-writer.js';
import { buildBucketKeys } from '../codec/redis-keys.js';
import { decodeRecords, type RecordsPage } from '../codec/records-decoder.js';
import type { RegisterStorage } from '../codec/register-storage.js';
import { CallCoalescer, scriptError, type ScriptCall } from '../scripts/call-coalescer.js';
import { encodeNewIncarnation } from '../scripts/incarnation-argument.js';
import { formatOptions } from '../scripts/other-options.js';
import { formatRegions } from '../scripts/region-names.js';
import { Script } from '../scripts/script.js';

/**
 * A gateway that does not renew its leases for this long loses them, and others replicate its buckets. Two of its turns: that two
 * gateways replicate a bucket for a moment does no harm.
 */
const LEASE_MS = 2_000;
/** Reply of scripts/acquire-leases-n.lua. */
const LEASED_WITH_HOMES = 2;
/**
 * Posts of a bucket whose homes one call settles: a millisecond or two of the server's time. The rest follow a second later each, so a bucket
 * with ARMED_PER_BUCKET_MAX takes 4 s.
 */
export const CALL_SETTLED_MAX = 250;
/** Buckets of a call that reads little more than their hashes. */
const CALL_BUCKETS_MAX = 128;
/** Change feed entries of a bucket, and of all buckets, that one call reads: about a millisecond of the server's time. */
const CALL_ENTRIES_MAX = 500;
/** Entries and toggles that one call merges: about a millisecond of the server's time. */
export const CALL_CHANGES_MAX = 250;
/** Registers that one call reads: about a millisecond of the server's time. */
const CALL_REGISTERS_MAX = 500;
/** The same in toggle logs, of which each call also has to read the later entries. */
const CALL_LOG_ENTRIES_MAX = 2_000;

export interface ReplicationScriptsOptions {
  readonly metrics: Metrics;
  readonly region: string;
  /** Names of all other regions. */
  readonly peers: readonly string[];
  /** Names this gateway process among those that share the store. */
  readonly gateway: string;
  /** Least time between two messages about a post. */
  readonly publishIntervalMs: number;
  /** 32 random bits for a new epoch. */
  readonly nonce: () => number;
  /** Wall time that an incarnation starts with, ms since 1970; guarded against jumps. */
  readonly wallMs: () => number;
}

/** A member, and the stamp of its register, 0 if it has none. */
export interface StampedMember {
  readonly actor: Key64;
  readonly stamp: number;
}

/** A chunk of the members of a post and metric. */
export interface MemberChunk {
  readonly post: string;
  readonly metric: number;
  readonly chunk: number;
  /** How many chunks there were when the post was read. */
  readonly chunks: number;
}

export interface PostRegister {
  readonly post: string;
  readonly register: ToggleRegister;
}

export interface RegistersPage {
  readonly registers: readonly PostRegister[];
  /** `0` after the last page. */
  readonly next: string;
}

/** The scripts of replication, as typed methods. None keeps the server for much more than a millisecond. */
export class ReplicationScripts {
  readonly #acquireLeases = new Script('acquire-leases-n');
  readonly #settleHomes = new Script('settle-homes-n');
  readonly #bucketStatus = new Script('bucket-status-n', true);
  readonly #startIncarnations = new Script('start-incarnations-n');
  readonly #observeIncarnations = new Script('observe-incarnations-n');
  readonly #changesSince = new Script('changes-since-n', true);
  readonly #mergeDeltas = new Script('merge-deltas-n', true);
  readonly #readRecords = new Script('read-records-1', true);
  readonly #readMembers = new Script('read-members-1');
  readonly #readRegisters = new Script('read-registers-1');
  readonly #writer = new MsgpackWriter();
  /** By bucket: the last post whose homes were settled; none: the first is next. */
  readonly #settledUpTo = new Map<number, string>();
  readonly #regionNumber: number;
  readonly #merges: CallCoalescer;

  constructor(
    private readonly client: RedisClient,
    private readonly options: ReplicationScriptsOptions,
  ) {
    this.#regionNumber = toRegionNumber(options.region);
    this.#merges = new CallCoalescer(!client.hasSlots, CALL_CHANGES_MAX, (calls) => this.#mergeAll(calls));
  }

  /** Whether buckets may be on several servers, so that each needs a call of its own. */
  get hasSlots(): boolean {
    return this.client.hasSlots;
  }

  /** @returns the buckets that this gateway has leased now */
  async acquireLeases(buckets: readonly number[], wallMs: number): Promise<readonly number[]> {
    const args = [this.options.gateway, LEASE_MS, Math.floor(wallMs)];
    const leased = await this.#writePages(this.#acquireLeases, buckets, args);
    const withHomes = buckets.filter((_, i) => leased[i] === LEASED_WITH_HOMES);
    // A call of its own for each bucket, one after the other: each may keep the server for a while.
    for (const bucket of withHomes) await this.#settle(bucket);
    return buckets.filter((_, i) => leased[i] !== 0);
  }

  /** Settles homes of some posts that may need it, those after the ones of the last time. */
  async #settle(bucket: number): Promise<void> {
    const after = this.#settledUpTo.get(bucket) ?? '';
    const args = [formatRegions(this.options), CALL_SETTLED_MAX, after];
    const [last] = (await this.#write(this.#settleHomes, [bucket], args)) as [string];
    this.#settledUpTo.set(bucket, last);
  }

  async bucketStatus(buckets: readonly number[]): Promise<ReplicationStatus[]> {
    const replies = await this.#writePages(this.#bucketStatus, buckets, []);
    return replies.map((reply) => decodeStatus(reply as Buffer));
  }

  async startIncarnation(
    buckets: readonly number[],
    { epoch, clock, needsBackfill, rewindsClock }: NewIncarnation,
  ): Promise<void> {
    const args = [epoch, clock, needsBackfill ? 1 : 0, rewindsClock ? 1 : 0, formatRegions(this.options)];
    await this.#writePages(this.#startIncarnations, buckets, args);
  }

  async completeBackfill(buckets: readonly number[]): Promise<void> {
    await this.#writePages(this.#startIncarnations, buckets, [0, 0, -1, 0, formatRegions(this.options)]);
  }

  /** @returns of each whether it is the latest incarnation of the region */
  async observeIncarnations(
    region: string,
    incarnations: readonly (readonly [bucket: number, incarnation: Incarnation])[],
  ): Promise<boolean[]> {
    const latest = await Promise.all(
      pages(incarnations, this.#bucketsPerCall).map((page) => {
        const names = page.map(([, { epoch, nonce }]) => `${epoch} ${nonce}`);
        const buckets = page.map(([bucket]) => bucket);
        return this.#write(this.#observeIncarnations, buckets, [region, ...names]);
      }),
    );
    return latest.flat().map((one) => one === 1);
  }

  /** @returns as the store; `undefined` for buckets that were not read, because those before them had enough for one call */
  async changesSince(
    requests: readonly ChangesRequest[],
    peers: readonly string[],
    limit: number,
  ): Promise<(Delta | null | undefined)[]> {
    const encoded = requests.map(({ after, ackedUpTo }) => {
      this.#writer.writeInteger(after);
      this.#writer.writeInteger(ackedUpTo);
      return this.#writer.take();
    });
    const limits = [Math.min(limit, CALL_ENTRIES_MAX), CALL_ENTRIES_MAX];
    const args = [this.hasSlots ? 1 : 0, JSON.stringify([this.options.region, ...peers]), ...limits, ...encoded];
    const buckets = requests.map(({ bucket }) => bucket);
    const replies = (await this.#write(this.#changesSince, buckets, args)) as Buffer[];
    return requests.map(({ bucket, after }, i) => {
      const reply = replies[i]!;
      if (reply.length === 0) return undefined;
      const error = scriptError(reply);
      if (error !== null) throw error;
      return decodeChanges(reply, this.options.region, bucket, after);
    });
  }

  /**
   * Merges with others that are merged in the same turn.
   * @param fragment as DeltaEncoder encodes it
   * @param changes its entries and toggles
   */
  merge(bucket: number, fragment: Buffer, changes: number): Promise<Buffer> {
    return this.#merges.enqueue(bucket, fragment, changes);
  }

  /** The posts of a chunk. */
  readChunk(bucket: number, chunk: number): Promise<RecordsPage> {
    return this.#records(bucket, chunk, []);
  }

  readPosts(bucket: number, posts: readonly string[]): Promise<RecordsPage> {
    return this.#records(bucket, -1, posts);
  }

  /** @returns `null` for a chunk that was split since its post was read */
  async readMembers(bucket: number, chunks: readonly MemberChunk[]): Promise<(StampedMember[] | null)[]> {
    const named = JSON.stringify(chunks.flatMap(({ post, metric, chunk, chunks: of }) => [post, metric, chunk, of]));
    const reply = await this.client.query(this.#readMembers, [this.#keyOf(bucket)], [named]);
    return (reply as (string[] | null)[]).map((list) => {
      if (list == null) return null;
      return pages(list, 2).map(([actor, stamp]) => ({ actor: parseDecimalKey(actor!), stamp: Number(stamp) }));
    });
  }

  /**
   * @param aboveStamp  older registers are left out
   * @param posts  none: of all posts
   */
  async readRegisters(
    bucket: number,
    source: RegisterStorage,
    cursor: string,
    aboveStamp: number,
    posts: readonly string[],
  ): Promise<RegistersPage> {
    const limit = source === 'registers' ? CALL_REGISTERS_MAX : CALL_LOG_ENTRIES_MAX;
    const args = [source, cursor, limit, aboveStamp, JSON.stringify(posts)];
    const reply = await this.client.query(this.#readRegisters, [this.#keyOf(bucket)], args);
    const [next, list] = reply as [string, (string | number)[]];
    const registers = pages(list, 5).map((fields) => {
      const [post, metric, actor, stamp, on] = fields as [string, number, string, string, number];
      const register = { metric, actor: parseDecimalKey(actor), stamp: Number(stamp), on: on === 1 };
      return { post, register };
    });
    return { registers, next };
  }

  async #records(bucket: number, chunk: number, posts: readonly string[]): Promise<RecordsPage> {
    const args = [chunk, JSON.stringify(posts), this.#regionNumber, this.options.region];
    return decodeRecords(await this.client.query(this.#readRecords, [this.#keyOf(bucket)], args));
  }

  #keyOf(bucket: number): string {
    return buildBucketKeys(bucket, this.options.gateway).bucket;
  }

  async #mergeAll(calls: readonly ScriptCall[]): Promise<readonly Buffer[]> {
    const { publishIntervalMs, metrics } = this.options;
    const [first, ...others] = calls.map(({ bucket }) => this.#keyOf(bucket));
    const start = [encodeNewIncarnation(this.options), publishIntervalMs, metrics.list.length];
    const args = [
      ...start,
      this.hasSlots ? 1 : 0,
      this.#regionNumber,
      formatRegions(this.options),
      formatOptions(metrics),
      ...calls.map(({ packed }) => packed),
    ];
    return (await this.client.write(this.#mergeDeltas, [first!, ...others], args)) as Buffer[];
  }

  get #bucketsPerCall(): number {
    return this.hasSlots ? 1 : CALL_BUCKETS_MAX;
  }

  async #writePages(script: Script, buckets: readonly number[], args: ScriptArguments): Promise<unknown[]> {
    const calls = pages(buckets, this.#bucketsPerCall).map((page) => this.#write(script, page, args));
    return (await Promise.all(calls)).flat();
  }

  /** Passes what a new incarnation needs, and the number of the own region, before the other arguments. */
  async #write(script: Script, buckets: readonly number[], args: ScriptArguments): Promise<unknown> {
    const [first, ...others] = buckets.map((bucket) => this.#keyOf(bucket));
    if (first === undefined) return [];
    const all = [encodeNewIncarnation(this.options), this.#regionNumber, ...args];
    return await this.client.write(script, [first, ...others], all);
  }
}
