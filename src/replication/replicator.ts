import type { Clock, Timer } from '../common/clock.js';
import { TIME_AHEAD_MAX_MS } from '../counters/bucket.js';
import type { Incarnation } from '../counters/pn-counter.js';
import type { DeltaAck, Delta } from '../counters/replication/delta.js';
import { toWallMs } from '../counters/replication/hybrid-clock.js';
import type { BucketStatus, ReplicatedStore } from '../store/replicated-store.js';
import { Admission } from './admission.js';
import { AntiEntropy } from './anti-entropy.js';
import { ChangeReader } from './change-reader.js';
import { ClockRewind } from './coming-back.js';
import { PeerLink } from './peer-link.js';
import type { BucketDigest, Difference, LinkStatus, Peer, PeerService } from './transport/peer.js';

/** Leases are renewed, and what was filled is looked at, this often. */
const LEASE_RENEWAL_MS = 1_000;
/** Leases of a gateway that was here before have ended by then (LEASE_MS in src/store/redis/replication/redis-replication.ts). */
const LEASES_EXPIRED_AFTER_MS = 5_000;
/** Digests are compared this often, of a sixteenth of the buckets. */
const ANTI_ENTROPY_PERIOD_MS = 60_000;

/** A gateway that ends waits this long for its peers to take what was changed last. */
const FINAL_PUSH_MS = 1_000;

export interface ReplicatorOptions {
  /** REPLICATION_INTERVAL_MS */
  readonly intervalMs: number;
  readonly buckets: number;
  readonly antiEntropyPeriodMs?: number;
  readonly random: () => number;
  readonly warn: (message: string) => void;
}

/**
 * This region among the others: brings its changes to each peer by a link of its own, merges what they bring, and compares
 * with them in the background. Of gateways that share a store each ships for the buckets that it leads.
 */
export class Replicator implements PeerService {
  readonly #links: readonly PeerLink[];
  readonly #changeReader: ChangeReader;
  readonly #antiEntropy: AntiEntropy;
  readonly #admission: Admission;
  /** `null`: it is not known yet. */
  #leasedBuckets: readonly number[] | null = null;
  readonly #startedAtMs: number;
  #backfilling = false;
  #isTimeChecked = false;
  #timers: Timer[] = [];
  #closed = false;

  constructor(
    private readonly store: ReplicatedStore,
    private readonly peers: readonly Peer[],
    private readonly clock: Clock,
    private readonly options: ReplicatorOptions,
  ) {
    this.#startedAtMs = clock.nowMs();
    const names = peers.map(({ region }) => region);
    this.#antiEntropy = new AntiEntropy(
      store,
      clock,
      options.antiEntropyPeriodMs ?? ANTI_ENTROPY_PERIOD_MS,
      options.buckets,
    );
    const { intervalMs, random, warn } = options;
    this.#admission = new Admission(new Set(names), clock, warn);
    const comingBack = new ClockRewind(store, clock, () => this.#links, warn);
    const collector = new ChangeReader(store, names, clock, intervalMs, random() * intervalMs);
    this.#changeReader = collector;
    this.#links = peers.map(
      (peer) =>
        new PeerLink(store, peer, clock, {
          ...options,
          changeReader: collector,
          peers: names,
          leasedBuckets: () => this.#leasedBuckets,
          reportLostHistory: (lost, region) => this.#reportLostHistory(lost, region),
          ackedUpTo: (bucket, own) => this.#ackedUpTo(bucket, own),
          rewindClocks: async () => {
            await comingBack.run(this.#leasedBuckets ?? []);
            collector.invalidate();
          },
        }),
    );
  }

  start(): void {
    void this.#acquireLeases();
    this.#scheduleAntiEntropy();
    for (const link of this.#links) link.start();
  }

  /** Tells the peers what was changed last. One that does not take it soon is told by whoever leads next. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) timer.cancel();
    this.#changeReader.invalidate();
    let limit: Timer | undefined;
    const late = new Promise<void>((resolve) => void (limit = this.clock.after(FINAL_PUSH_MS, resolve)));
    await Promise.race([Promise.all(this.#links.map((link) => link.close())), late]);
    limit?.cancel();
  }

  /** Buckets that this gateway leads lack something, which the peers are about to tell. */
  get backfilling(): boolean {
    return this.#backfilling;
  }

  linkStatuses(): LinkStatus[] {
    const { rejectedByRegion: rejections } = this.#admission;
    return this.#links.map(({ status }) => ({ ...status, rejections: rejections.get(status.region) ?? 0 }));
  }

  async mergeFrom(from: string, shipments: readonly Delta[]): Promise<readonly DeltaAck[]> {
    const admitted = this.#admission.admit(from, shipments);
    const merged = this.store.merge(admitted.map(({ shipment }) => shipment));
    const receipts = await merged.catch((error: unknown) => {
      this.#admission.reportMergeFailure(from, error);
      throw error;
    });
    return receipts.map((receipt, i) => {
      const { rejection } = admitted[i]!;
      return rejection === undefined ? receipt : { ...receipt, rejection };
    });
  }

  compareDigests(_from: string, digests: readonly BucketDigest[]): Promise<readonly Difference[]> {
    return Promise.resolve(this.#antiEntropy.compare(digests));
  }

  readPosts(posts: readonly string[]): Promise<readonly Delta[]> {
    return this.store.readPosts(posts);
  }

  #ackedUpTo(bucket: number, own: Incarnation): number {
    return Math.min(...this.#links.map((link) => link.ackedUpTo(bucket, own)));
  }

  async #acquireLeases(): Promise<void> {
    try {
      const led = await this.store.acquireLeases(this.clock.wallMs());
      // While leases of a life before this one last, nobody counts what the peers lack.
      this.#leasedBuckets =
        led.length > 0 || this.clock.nowMs() - this.#startedAtMs > LEASES_EXPIRED_AFTER_MS ? led : null;
      await this.#completeBackfills(led);
    } catch {
      // The store is away: nothing can be collected, either.
    }
    this.#after(LEASE_RENEWAL_MS, () => void this.#acquireLeases());
  }

  /** A bucket is filled when every region that can be reached has told all it knows. */
  async #completeBackfills(led: readonly number[]): Promise<void> {
    const reached = this.#links.filter(({ up }) => up).map(({ region }) => region);
    const standings = await this.store.bucketStatus(led);
    if (!this.#isTimeChecked) this.#checkTime(standings);
    const done = led.filter((_, i) => {
      const { backfilling: filling, syncedFrom: toldBy } = standings[i]!;
      return filling && reached.length > 0 && reached.every((region) => toldBy.includes(region));
    });
    this.#backfilling = standings.filter(({ backfilling: filling }) => filling).length > done.length;
    if (done.length === 0) return;
    await this.store.completeBackfill(done);
    this.options.warn(`${done.length} buckets are filled with what ${reached.join(', ')} knew of them`);
  }

  /** Once: a clock that is behind, or was ahead, shows in the data. */
  #checkTime(standings: readonly BucketStatus[]): void {
    if (standings.length === 0) return;
    this.#isTimeChecked = true;
    const latestMs = Math.max(...standings.map(({ clock }) => toWallMs(clock)));
    const aheadMs = latestMs - this.clock.wallMs();
    if (aheadMs <= TIME_AHEAD_MAX_MS) return;
    const minutes = Math.round(aheadMs / 60_000);
    this.options.warn(
      `the data has stamps of ${new Date(latestMs).toISOString()}, ${minutes} minutes ahead of this machine's clock: if the clock is ` +
        'behind, set it right (NTP); if it was ahead before, the data comes back by itself once another region takes nothing of it',
    );
  }

  #reportLostHistory(buckets: number, region: string): void {
    this.#backfilling = true;
    this.options.warn(`${buckets} buckets lack what region ${region} knows: they are filled from the others`);
  }

  #scheduleAntiEntropy(): void {
    const { digest, compare } = this.#antiEntropy.delaysMs;
    this.#after(digest, () => {
      const digested = this.#antiEntropy.digest().catch(() => undefined);
      this.#after(compare, () => void digested.then(() => this.#repairPeers()).then(() => this.#scheduleAntiEntropy()));
    });
  }

  async #repairPeers(): Promise<void> {
    for (const [i, peer] of this.peers.entries()) {
      if (!this.#links[i]!.up) continue;
      try {
        const shipped = await this.#antiEntropy.repairPeer(peer, this.#leasedBuckets ?? []);
        if (shipped > 0) this.options.warn(`${shipped} posts were not the same as in region ${peer.region}`);
      } catch {
        // The link says what is wrong; the next period tries again.
      }
    }
  }

  #after(ms: number, call: () => void): void {
    if (this.#closed) return;
    const timer = this.clock.after(ms, () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
      call();
    });
    this.#timers.push(timer);
  }
}
