import { Subject } from 'rxjs';
import { apply } from '../../src/counters/apply.js';
import type { Batch, CommitResult } from '../../src/counters/batch.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { computeTotal } from '../../src/counters/bucket.js';
import { arm, NO_MILESTONES } from '../../src/counters/milestones.js';
import { Metrics } from '../../src/counters/metrics.js';
import type { CountingStore } from '../../src/log/aggregator.js';
import { MemoryBucket } from '../contract/memory-bucket.js';
import type { Random } from '../support/random.js';
import type { LogWorldRules } from './log-rules.js';
import type { SimulatedClock } from './simulated-clock.js';
import type { SimulatedProcess } from './simulated-process.js';
import { callFrom, calmWeather } from './unreliable-call.js';

export const METRICS = Metrics.parse('likes:toggle,views:tally');
export const BUCKETS = 33;
/** Those with posts: they have three buckets and two. */
export const PARTITIONS: readonly number[] = [0, 1];
const INCARNATION = { region: 'eu', epoch: 1, nonce: 1 };
const LEASE_MS = 2_000;
const RECONNECT_MAX_MS = 500;
/** A failover loses nothing older. */
const REPLAY_WINDOW_MS = 4_000;
/** A planted fault: positions that do not move for this long are forgotten. */
const EXPIRY_MS = 3_000;

/** The store behind a log. A failover loses its last commits: what they counted, and the positions that they moved. */
export class LogStore {
  readonly weather = calmWeather();
  /** A bucket in which every commit fails. */
  damagedBucket: number | null = null;
  readonly #buckets = new Map<number, MemoryBucket>();
  readonly #replica = new Map<number, MemoryBucket>();
  /** Buckets in which the replica is behind. */
  readonly #unreplicated = new Set<number>();
  #replicatedAtMs = 0;
  #server = 1;
  readonly #leases = new Map<string, { readonly process: SimulatedProcess; readonly untilMs: number }>();
  /** By log and bucket: when its position moved. */
  readonly #movedAtMs = new Map<string, number>();
  /** All that came, also those that were not applied. */
  readonly batches: Batch[] = [];
  /** The first broken rule of calling a store; `''`: none is. */
  misuse = '';

  constructor(
    private readonly clock: SimulatedClock,
    private readonly random: Random,
    private readonly rules: LogWorldRules,
  ) {}

  /** The store as a gateway sees it, over a connection to one server. */
  connect(process: SimulatedProcess): CountingStore {
    const { random, weather } = this;
    const reconnected = new Subject<void>();
    let server = this.#server;
    let isReconnecting = false;
    const unreliable = callFrom(process, random, weather, () => new Error('the store is down'));
    const checkServer = (): void => {
      if (server === this.#server) return;
      if (!isReconnecting) {
        isReconnecting = true;
        process.clock.after(random.below(RECONNECT_MAX_MS), () => {
          isReconnecting = false;
          server = this.#server;
          reconnected.next();
        });
      }
      throw new Error('the connection to the store is lost');
    };
    const call = async <T>(run: () => T | Promise<T>): Promise<T> => {
      const result = await unreliable(() => {
        checkServer();
        return run();
      });
      checkServer();
      return result;
    };
    const inFlight = new Set<number>();
    const commit = async (batch: Batch): Promise<CommitResult> => {
      if (inFlight.has(batch.bucket)) this.misuse ||= `two batches of bucket ${batch.bucket} in flight`;
      inFlight.add(batch.bucket);
      try {
        return await call(() => this.#commit(batch));
      } finally {
        inFlight.delete(batch.bucket);
      }
    };
    return {
      commit,
      logPosition: (log, bucket) => call(() => this.#logPosition(log, bucket)),
      reconnected,
      available: true,
      replayWindowMs: this.rules.keepsApplied ? REPLAY_WINDOW_MS : 0,
      changeStore: { acquireLease: (duty) => call(() => this.#acquireLease(process, duty)) },
    };
  }

  bucket(number: number): MemoryBucket {
    let bucket = this.#buckets.get(number);
    if (bucket === undefined) this.#buckets.set(number, (bucket = new MemoryBucket(INCARNATION)));
    return bucket;
  }

  /** Arms a milestone of a post this far above its total, unless that is not possible. */
  arm(post: string, metric: number, above: number): void {
    const number = bucketOf(post, BUCKETS);
    const bucket = this.bucket(number);
    const total = computeTotal(bucket.post(post)?.metrics[metric]);
    const before = bucket.milestones.get(post, metric) ?? NO_MILESTONES;
    const { milestones } = arm(before, total + above, total, bucket.milestones.armedCount);
    if (milestones === null) return;
    bucket.milestones.set(post, metric, milestones, []);
    this.#unreplicated.add(number);
  }

  replicate(): void {
    for (const number of this.#unreplicated) this.#replica.set(number, this.bucket(number).copy());
    this.#unreplicated.clear();
    this.#replicatedAtMs = this.clock.nowMs();
  }

  /** Replicates if the replica is about to lack more than a failover may lose. */
  keepReplicaClose(): void {
    if (this.clock.nowMs() - this.#replicatedAtMs > REPLAY_WINDOW_MS / 2) this.replicate();
  }

  /** Promotes the replica. */
  failOver(): void {
    for (const number of this.#unreplicated)
      this.#buckets.set(number, this.#replica.get(number)?.copy() ?? new MemoryBucket(INCARNATION));
    this.#unreplicated.clear();
    this.#server += 1;
    if (this.random.chance(0.5)) this.#leases.clear();
  }

  #commit(batch: Batch): CommitResult {
    const { producerId, bucket: number, batchNumber } = batch;
    const { rules } = this;
    if (number === this.damagedBucket) throw new Error('a value is damaged');
    const bucket = this.bucket(number);
    const position = this.#logPosition(producerId, number);
    this.batches.push(batch);
    const result = apply(bucket, METRICS, rules.checksPosition ? batch : { ...batch, afterInLog: position });
    if (result.kind !== 'applied') return result;
    this.#unreplicated.add(number);
    this.#movedAtMs.set(`${producerId} ${number}`, this.clock.nowMs());
    if (rules.movesPositionAtomically) return result;
    bucket.setLogPosition(producerId, position);
    if (this.random.chance(0.1)) this.replicate();
    if (this.random.chance(0.02)) throw new Error('the store failed');
    bucket.setLogPosition(producerId, batchNumber);
    return result;
  }

  #logPosition(log: string, number: number): number {
    const bucket = this.bucket(number);
    const movedAtMs = this.#movedAtMs.get(`${log} ${number}`) ?? 0;
    if (!this.rules.keepsPositions && this.clock.nowMs() - movedAtMs > EXPIRY_MS) bucket.setLogPosition(log, 0);
    return bucket.logPosition(log);
  }

  #acquireLease(process: SimulatedProcess, duty: string): boolean {
    const lease = this.#leases.get(duty);
    const nowMs = this.clock.nowMs();
    if (lease !== undefined && lease.process !== process && lease.untilMs > nowMs) return false;
    this.#leases.set(duty, { process, untilMs: nowMs + LEASE_MS });
    return true;
  }
}
