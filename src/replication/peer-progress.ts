import type { Clock } from '../common/clock.js';
import { type Life, orderOf } from '../counters/pn-counter.js';
import type { Receipt } from '../counters/replication/delta.js';
import { wallMsOf } from '../counters/replication/hybrid-clock.js';
import type { BucketStanding } from '../store/replicated-store.js';

/** A bucket that has nothing to tell asks this often whether its peer still has what it had, … */
const HEARTBEAT_MS = 1_000;
/** … and, so that what all have heard is forgotten, is collected this often, and told of where its clock has moved. */
const SETTLE_MS = 500;

/**
 * What a store has lost and gateways have sent again is 20 s old at most (they retain it that long). A store that lacks more
 * comes from a backup, and its peers know better.
 */
const REPLAYED_MS = 30_000;

/** What is known of a bucket at the peer. */
interface Remote {
  /** What the peer has of this region, of the life that it names. */
  readonly receipt: Receipt;
  readonly atMs: number;
  /** Between what the peer has and this stamp nothing was changed here, as was seen then. */
  sameUpTo: number;
  sameAtMs: number;
}

/** What a peer has of each bucket, as its last receipts say. */
export class PeerProgress {
  readonly #remotes = new Map<number, Remote>();

  constructor(private readonly clock: Clock) {}

  receipt(bucket: number): Receipt | undefined {
    return this.#remotes.get(bucket)?.receipt;
  }

  has(bucket: number): boolean {
    return this.#remotes.has(bucket);
  }

  set(bucket: number, receipt: Receipt): void {
    const atMs = this.clock.nowMs();
    this.#remotes.set(bucket, { receipt, atMs, sameUpTo: receipt.upTo, sameAtMs: atMs });
  }

  delete(bucket: number): void {
    this.#remotes.delete(bucket);
  }

  keepOnly(buckets: ReadonlySet<number>): void {
    for (const bucket of this.#remotes.keys()) if (!buckets.has(bucket)) this.#remotes.delete(bucket);
  }

  /** Up to where the peer has confirmed what this life of the bucket has changed; 0 if that is not known. */
  confirmed(bucket: number, own: Life): number {
    const receipt = this.receipt(bucket);
    return receipt !== undefined && orderOf(receipt, own) === 'same' ? receipt.upTo : 0;
  }

  /** There is nothing to tell between what the peer has and this stamp. */
  same(bucket: number, upTo: number): void {
    const remote = this.#remotes.get(bucket);
    if (remote === undefined) return;
    remote.sameUpTo = upTo;
    remote.sameAtMs = this.clock.nowMs();
  }

  /** Whether nothing was changed up to the clock but what the peer has, and it was looked at lately. */
  isSame(bucket: number, clock: number): boolean {
    const remote = this.#remotes.get(bucket);
    return remote !== undefined && clock <= remote.sameUpTo && this.clock.nowMs() - remote.sameAtMs < SETTLE_MS;
  }

  /**
   * The buckets that are to be asked about, be there changes or not: sooner where the clock has moved, for the peers wait for that
   * to forget registers. All that soon would be go together.
   */
  quiet(standings: ReadonlyMap<number, BucketStanding>): ReadonlySet<number> {
    const nowMs = this.clock.nowMs();
    let isDue = false;
    const quiet = new Set<number>();
    for (const [bucket, { clock }] of standings) {
      const remote = this.#remotes.get(bucket);
      const sinceMs = remote === undefined ? Infinity : nowMs - remote.atMs;
      if (sinceMs < SETTLE_MS) continue;
      quiet.add(bucket);
      isDue ||= remote === undefined || sinceMs >= HEARTBEAT_MS || clock > remote.receipt.upTo;
    }
    return isDue ? quiet : new Set();
  }
}

/** Whether the peer knows of more than what a failover loses and gateways of a store that `replays` send again. */
export function lacks(receipt: Receipt, { found }: BucketStanding, replays: boolean): boolean {
  return wallMsOf(receipt.upTo) - wallMsOf(found) > (replays ? REPLAYED_MS : 0);
}
