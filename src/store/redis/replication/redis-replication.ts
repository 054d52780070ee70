import { Subject } from 'rxjs';
import type { Clock } from '../../../common/clock.js';
import type { PostCounts } from '../../../counters/batch.js';
import { bucketOf } from '../../../counters/ids.js';
import type { Metrics } from '../../../counters/metrics.js';
import type { Incarnation } from '../../../counters/pn-counter.js';
import { toRegionNumber } from '../../../counters/replication/hybrid-clock.js';
import type { DeltaAck, Delta, RemoteToggle } from '../../../counters/replication/delta.js';
import type {
  ChangesRequest,
  BucketStatus,
  NewIncarnation,
  ReplicatedStore,
  FullSyncPage,
} from '../../replicated-store.js';
import type { RedisClient } from '../client/redis-client.js';
import { buildBucketKeys } from '../codec/redis-keys.js';
import { encodeNewIncarnation } from '../scripts/new-life.js';
import { decodeChanges, type ReplicationStatus, decodeStatus } from '../codec/delta-decoder.js';
import { CALL_CHANGES_MAX, DeltaMerger } from './delta-merger.js';
import { BucketReader } from './bucket-reader.js';
import { FullSyncPages } from './full-sync-pages.js';
import { Script } from '../scripts/script.js';
import type { ScriptArguments } from '../client/server.js';
import { scriptError, type ScriptCall, CallCoalescer } from '../scripts/call-coalescer.js';
import { MsgpackWriter } from '../codec/msgpack-writer.js';

/** A gateway that does not ask for this long is gone, and others ship its buckets. Two of its turns: that two ship for a moment does no harm. */
const LEASE_MS = 2_000;
/** Marks of a bucket that are collected, and of all buckets by one call: about a millisecond of the server's time. */
const CALL_MARKS_MAX = 500;
/** Buckets of a call that looks at little more than their hashes. */
const CALL_BUCKETS_MAX = 128;

interface RedisReplicationOptions {
  readonly metrics: Metrics;
  readonly buckets: number;
  readonly region: string;
  /** Names this gateway life among those that share the store. */
  readonly gateway: string;
  /** Least time between two announcements of a post, ms. */
  readonly publishIntervalMs: number;
  /** 32 random bits for an epoch that begins. */
  readonly nonce: () => number;
  /** Wall time that a life begins with, ms since 1970; guarded against jumps. */
  readonly wallMs: () => number;
}

/** What the store does about changes that come from other regions. */
export interface ReplicationEvents {
  changed(counts: readonly PostCounts[]): void;
  /** Something of the bucket is due to be announced in this many ms. */
  publishDue(bucket: number, dueInMs: number): void;
}

/** Counters in Redis as other regions are told of them, and tell of theirs. Where they stand: docs/redis-keys.md. */
export class RedisReplication implements ReplicatedStore {
  readonly losesCommitsOnFailover = true;
  readonly remoteToggles = new Subject<readonly RemoteToggle[]>();
  readonly #stand = new Script('bucket-status-n', true);
  readonly #lead = new Script('acquire-leases-n');
  readonly #begin = new Script('start-incarnations-n');
  readonly #hear = new Script('observe-incarnations-n');
  readonly #collect = new Script('changes-since-n', true);
  readonly #merge = new Script('merge-deltas-n', true);
  readonly #writer = new MsgpackWriter();
  readonly #number: number;
  readonly #scans: FullSyncPages;
  readonly #merges: DeltaMerger;

  constructor(
    private readonly connections: RedisClient,
    clock: Clock,
    private readonly options: RedisReplicationOptions,
    events: ReplicationEvents,
  ) {
    const { region, metrics } = options;
    this.#number = toRegionNumber(region);
    const keyOf = (bucket: number): string => this.#keyOf(bucket);
    const reads = new BucketReader(connections, metrics);
    const standing = async (bucket: number): Promise<ReplicationStatus> => (await this.#standings([bucket]))[0]!;
    this.#scans = new FullSyncPages(reads, { region, metrics, keyOf, standing });
    const calls = new CallCoalescer(!connections.hasSlots, CALL_CHANGES_MAX, (asked) => this.#mergeAll(asked));
    const about = { region, metrics: metrics.list.length, clock, keyOf };
    this.#merges = new DeltaMerger(calls, reads, about, {
      ...events,
      toggled: (toggles) => this.remoteToggles.next(toggles),
    });
  }

  async acquireLeases(wallMs: number): Promise<readonly number[]> {
    const all = Array.from({ length: this.options.buckets }, (_, bucket) => bucket);
    const taken = await this.#each(this.#lead, all, [this.options.gateway, LEASE_MS, Math.floor(wallMs)]);
    return all.filter((bucket) => taken[bucket] === 1);
  }

  async bucketStatus(buckets: readonly number[]): Promise<readonly BucketStatus[]> {
    return (await this.#standings(buckets)).map(({ epoch, nonce, clock, recoveredUpTo, backfilling, syncedFrom }) => {
      return { epoch, nonce, clock, recoveredUpTo, backfilling, syncedFrom };
    });
  }

  async changesSince(
    asked: readonly ChangesRequest[],
    peers: readonly string[],
    limit: number,
  ): Promise<readonly (Delta | null)[]> {
    const answers = new Map<ChangesRequest, Delta | null>();
    const groups = this.connections.hasSlots ? asked.map((one) => [one]) : [asked];
    await Promise.all(
      groups.map(async (group) => {
        for (let left = group; left.length > 0; left = left.filter((one) => !answers.has(one))) {
          await this.#collectSome(left, peers, Math.min(limit, CALL_MARKS_MAX), answers);
        }
      }),
    );
    return asked.map((one) => answers.get(one)!);
  }

  async observeIncarnations(
    region: string,
    lives: readonly (readonly [bucket: number, life: Incarnation])[],
  ): Promise<readonly boolean[]> {
    const calls = this.connections.hasSlots ? lives.map((one) => [one]) : [lives];
    const newest = await Promise.all(
      calls.map((some) => {
        const keys = some.map(([bucket]) => this.#keyOf(bucket));
        return this.#write(this.#hear, keys, [region, ...some.map(([, { epoch, nonce }]) => `${epoch} ${nonce}`)]);
      }),
    );
    return newest.flat().map((one) => one === 1);
  }

  fullSyncPage(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<FullSyncPage> {
    return this.#scans.readPage(buckets, cursor, limit);
  }

  async readPosts(posts: readonly string[]): Promise<readonly Delta[]> {
    const byBucket = grouped(posts, (post) => bucketOf(post, this.options.buckets));
    const shown = new Map<string, Delta>();
    for (const [bucket, own] of byBucket) {
      for (const shipment of await this.#scans.readPosts(bucket, own)) shown.set(shipment.posts[0]!.post, shipment);
    }
    return posts.map((post) => shown.get(post)!);
  }

  /** Those of a bucket one after the other. */
  async merge(shipments: readonly Delta[]): Promise<readonly DeltaAck[]> {
    const receipts = new Map<Delta, DeltaAck>();
    await Promise.all(
      [...grouped(shipments, ({ bucket }) => bucket).values()].map(async (own) => {
        for (const shipment of own) receipts.set(shipment, await this.#merges.merge(shipment));
      }),
    );
    return shipments.map((shipment) => receipts.get(shipment)!);
  }

  async startIncarnation(
    buckets: readonly number[],
    { epoch, clock, needsBackfill: fills, rewindsClock: comesBack }: NewIncarnation,
  ): Promise<void> {
    await this.#each(this.#begin, buckets, [epoch, clock, fills ? 1 : 0, comesBack ? 1 : 0]);
  }

  async completeBackfill(buckets: readonly number[]): Promise<void> {
    await this.#each(this.#begin, buckets, [0, 0, -1, 0]);
  }

  close(): void {
    this.remoteToggles.complete();
  }

  #keyOf(bucket: number): string {
    return buildBucketKeys(bucket, this.options.gateway).bucket;
  }

  async #standings(buckets: readonly number[]): Promise<ReplicationStatus[]> {
    return (await this.#each(this.#stand, buckets, [])).map((answer) => decodeStatus(answer as Buffer));
  }

  /** A call about all of them, or one a bucket where these may be on several servers. */
  async #each(script: Script, buckets: readonly number[], args: ScriptArguments): Promise<unknown[]> {
    const size = this.connections.hasSlots ? 1 : CALL_BUCKETS_MAX;
    const calls: Promise<unknown>[] = [];
    for (let first = 0; first < buckets.length; first += size) {
      const keys = buckets.slice(first, first + size).map((bucket) => this.#keyOf(bucket));
      calls.push(this.#write(script, keys, args));
    }
    return (await Promise.all(calls)).flat();
  }

  async #collectSome(
    asked: readonly ChangesRequest[],
    peers: readonly string[],
    limit: number,
    answers: Map<ChangesRequest, Delta | null>,
  ): Promise<void> {
    const keys = asked.map(({ bucket }) => this.#keyOf(bucket));
    const packed = asked.map(({ after, ackedUpTo: confirmed }) => {
      this.#writer.writeInteger(after);
      this.#writer.writeInteger(confirmed);
      return this.#writer.take();
    });
    const about = [this.connections.hasSlots ? 1 : 0, JSON.stringify(peers), limit, CALL_MARKS_MAX];
    const found = (await this.#write(this.#collect, keys, [...about, ...packed])) as Buffer[];
    for (const [i, one] of asked.entries()) {
      const answer = found[i]!;
      // It was not looked at: those before it were enough for one call.
      if (answer.length === 0) continue;
      const error = scriptError(answer);
      if (error !== null) throw error;
      answers.set(one, decodeChanges(answer, this.options.region, one.bucket, one.after));
    }
  }

  async #mergeAll(asked: readonly ScriptCall[]): Promise<readonly Buffer[]> {
    const { publishIntervalMs: publishMs, metrics, region } = this.options;
    const [first, ...others] = asked.map(({ bucket }) => this.#keyOf(bucket));
    const slots = this.connections.hasSlots ? 1 : 0;
    const about = [encodeNewIncarnation(this.options), publishMs, metrics.list.length, slots, this.#number, region];
    const packed = asked.map((one) => one.packed);
    return (await this.connections.write(this.#merge, [first!, ...others], [...about, ...packed])) as Buffer[];
  }

  /** What a life that begins is given, and the number of the own region, before the other arguments. */
  async #write(script: Script, keys: readonly string[], args: ScriptArguments): Promise<unknown> {
    const [first, ...others] = keys;
    if (first === undefined) return [];
    const all = [encodeNewIncarnation(this.options), this.#number, ...args];
    return await this.connections.write(script, [first, ...others], all);
  }
}

function grouped<T>(things: readonly T[], bucketOf: (thing: T) => number): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const thing of things) {
    const bucket = bucketOf(thing);
    const group = groups.get(bucket);
    if (group === undefined) groups.set(bucket, [thing]);
    else group.push(thing);
  }
  return groups;
}
