import type { Clock } from '../common/clock.js';
import { type Incarnation, compareIncarnations } from '../counters/pn-counter.js';
import type { DeltaAck } from '../counters/replication/delta.js';
import { toWallMs } from '../counters/replication/hybrid-clock.js';
import type { BucketStatus } from '../store/replicated-store.js';

/** A bucket that has nothing to tell asks this often whether its peer still has what it had, … */
const HEARTBEAT_MS = 1_000;
/** … and, so that what all have heard is forgotten, is collected this often, and told of where its clock has moved. */
const SETTLE_MS = 500;

/**
 * What a store has lost and gateways have sent again is 20 s old at most (they retain it that long). A store that lacks more
 * comes from a backup, and its peers know better.
 */
const REPLAYED_MAX_MS = 30_000;

/** What is known of a bucket at the peer. */
interface BucketProgress {
  /** What the peer has of this region, of the life that it names. */
  readonly ack: DeltaAck;
  readonly ackedAtMs: number;
  /** Between what the peer has and this stamp nothing was changed here, as was seen then. */
  unchangedUpTo: number;
  checkedAtMs: number;
}

/** What a peer has of each bucket, as its last receipts say. */
export class PeerProgress {
  readonly #buckets = new Map<number, BucketProgress>();

  constructor(private readonly clock: Clock) {}

  ack(bucket: number): DeltaAck | undefined {
    return this.#buckets.get(bucket)?.ack;
  }

  has(bucket: number): boolean {
    return this.#buckets.has(bucket);
  }

  set(bucket: number, receipt: DeltaAck): void {
    const atMs = this.clock.nowMs();
    this.#buckets.set(bucket, { ack: receipt, ackedAtMs: atMs, unchangedUpTo: receipt.upTo, checkedAtMs: atMs });
  }

  delete(bucket: number): void {
    this.#buckets.delete(bucket);
  }

  keepOnly(buckets: ReadonlySet<number>): void {
    for (const bucket of this.#buckets.keys()) if (!buckets.has(bucket)) this.#buckets.delete(bucket);
  }

  /** Up to where the peer has confirmed what this life of the bucket has changed; 0 if that is not known. */
  ackedUpTo(bucket: number, own: Incarnation): number {
    const receipt = this.ack(bucket);
    return receipt !== undefined && compareIncarnations(receipt, own) === 'same' ? receipt.upTo : 0;
  }

  /** There is nothing to tell between what the peer has and this stamp. */
  markUnchanged(bucket: number, upTo: number): void {
    const remote = this.#buckets.get(bucket);
    if (remote === undefined) return;
    remote.unchangedUpTo = upTo;
    remote.checkedAtMs = this.clock.nowMs();
  }

  /** Whether nothing was changed up to the clock but what the peer has, and it was looked at lately. */
  isUnchanged(bucket: number, clock: number): boolean {
    const remote = this.#buckets.get(bucket);
    return remote !== undefined && clock <= remote.unchangedUpTo && this.clock.nowMs() - remote.checkedAtMs < SETTLE_MS;
  }

  /**
   * The buckets that are to be asked about, be there changes or not: sooner where the clock has moved, for the peers wait for that
   * to forget registers. All that soon would be go together.
   */
  heartbeatsDue(standings: ReadonlyMap<number, BucketStatus>): ReadonlySet<number> {
    const nowMs = this.clock.nowMs();
    let isDue = false;
    const quiet = new Set<number>();
    for (const [bucket, { clock }] of standings) {
      const remote = this.#buckets.get(bucket);
      const sinceMs = remote === undefined ? Infinity : nowMs - remote.ackedAtMs;
      if (sinceMs < SETTLE_MS) continue;
      quiet.add(bucket);
      isDue ||= remote === undefined || sinceMs >= HEARTBEAT_MS || clock > remote.ack.upTo;
    }
    return isDue ? quiet : new Set();
  }
}

/** Whether the peer knows of more than what a failover loses and gateways of a store that `replays` send again. */
export function hasLostHistory(receipt: DeltaAck, { recoveredUpTo: found }: BucketStatus, replays: boolean): boolean {
  return toWallMs(receipt.upTo) - toWallMs(found) > (replays ? REPLAYED_MAX_MS : 0);
}
