import type { Clock } from '../common/clock.js';
import { compareIncarnations, type Incarnation } from '../counters/pn-counter.js';
import type { DeltaAck } from '../counters/replication/delta.js';
import { toWallMs } from '../counters/replication/hybrid-clock.js';
import type { BucketStatus } from '../store/replicated-store.js';

/** An idle bucket is sent to its peer this often, to learn whether the peer still has its state. */
const HEARTBEAT_MS = 1_000;
/**
 * An idle bucket is read this often, because the read drops changes that all peers have acked. It is sent if its clock has advanced, because
 * peers advance their stable stamp by that.
 */
const STABILITY_MS = 500;

/**
 * Gateways replay what a failover lost, at most 20 s old, because they retain it that long. A store that lacks more was restored from a
 * backup, and its peers have more than it has.
 */
const REPLAYED_MAX_MS = 30_000;

interface BucketProgress {
  readonly ack: DeltaAck;
  readonly ackedAtMs: number;
  /** Nothing has changed between the ack and this stamp, as of `checkedAtMs`. */
  unchangedUpTo: number;
  checkedAtMs: number;
}

/** How far a peer has each bucket, by its last acks. */
export class PeerProgress {
  readonly #buckets = new Map<number, BucketProgress>();

  constructor(private readonly clock: Clock) {}

  ack(bucket: number): DeltaAck | undefined {
    return this.#buckets.get(bucket)?.ack;
  }

  has(bucket: number): boolean {
    return this.#buckets.has(bucket);
  }

  set(bucket: number, ack: DeltaAck): void {
    const nowMs = this.clock.nowMs();
    this.#buckets.set(bucket, { ack, ackedAtMs: nowMs, unchangedUpTo: ack.upTo, checkedAtMs: nowMs });
  }

  delete(bucket: number): void {
    this.#buckets.delete(bucket);
  }

  keepOnly(buckets: ReadonlySet<number>): void {
    for (const bucket of this.#buckets.keys()) if (!buckets.has(bucket)) this.#buckets.delete(bucket);
  }

  /** @returns the stamp up to which the peer has acked the changes of this incarnation; 0: unknown */
  ackedUpTo(bucket: number, own: Incarnation): number {
    const ack = this.ack(bucket);
    return ack !== undefined && compareIncarnations(ack, own) === 'same' ? ack.upTo : 0;
  }

  /** A read found no changes between the last ack and this stamp. */
  markUnchanged(bucket: number, upTo: number): void {
    const progress = this.#buckets.get(bucket);
    if (progress === undefined) return;
    progress.unchangedUpTo = upTo;
    progress.checkedAtMs = this.clock.nowMs();
  }

  /** Whether a recent read found that the peer has all changes up to this clock. */
  isUnchanged(bucket: number, clock: number): boolean {
    const progress = this.#buckets.get(bucket);
    if (progress === undefined || clock > progress.unchangedUpTo) return false;
    return this.clock.nowMs() - progress.checkedAtMs < STABILITY_MS;
  }

  /**
   * The buckets to send even without changes: earlier if a clock has advanced, because peers wait for it to drop registers. If one bucket
   * is due, those that would be due soon go with it.
   */
  heartbeatsDue(statuses: ReadonlyMap<number, BucketStatus>): ReadonlySet<number> {
    const nowMs = this.clock.nowMs();
    let isDue = false;
    const due = new Set<number>();
    for (const [bucket, { clock }] of statuses) {
      const progress = this.#buckets.get(bucket);
      const sinceMs = progress === undefined ? Infinity : nowMs - progress.ackedAtMs;
      if (sinceMs < STABILITY_MS) continue;
      due.add(bucket);
      isDue ||= progress === undefined || sinceMs >= HEARTBEAT_MS || clock > progress.ack.upTo;
    }
    return isDue ? due : new Set();
  }
}

/** Whether the peer has more than a failover can lose and gateways replay. */
export function hasLostHistory(
  ack: DeltaAck,
  { recoveredUpTo }: BucketStatus,
  losesCommitsOnFailover: boolean,
): boolean {
  return toWallMs(ack.upTo) - toWallMs(recoveredUpTo) > (losesCommitsOnFailover ? REPLAYED_MAX_MS : 0);
}
