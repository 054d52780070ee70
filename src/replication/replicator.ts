import type { Clock, Timer } from '../common/clock.js';
import { TIME_AHEAD_MAX_MS } from '../counters/bucket.js';
import type { Metrics } from '../counters/metrics.js';
import type { Incarnation } from '../counters/pn-counter.js';
import { completeChoices } from '../counters/replication/complete-choices.js';
import type { Delta, DeltaAck } from '../counters/replication/delta.js';
import { toWallMs } from '../counters/replication/hybrid-clock.js';
import type { BucketStatus, ReplicatedStore } from '../store/replicated-store.js';
import { DeltaAdmission } from './delta-admission.js';
import { AntiEntropy } from './anti-entropy.js';
import { ChangeReader } from './change-reader.js';
import { AheadClockReset } from './ahead-clock-reset.js';
import { PeerLink, type PeerLinkOptions } from './peer-link.js';
import type { BucketDigest, Difference, LinkStatus, Peer, PeerService } from './transport/peer.js';

/** Leases are renewed, and backfills are checked for completion, this often. */
const LEASE_RENEWAL_MS = 1_000;
/** By then the leases of the gateway process before this one have expired (LEASE_MS in replication-scripts.ts). */
const LEASES_EXPIRED_AFTER_MS = 5_000;
/** A sixteenth of the buckets is compared this often. */
const ANTI_ENTROPY_PERIOD_MS = 60_000;

/** A closing gateway waits this long for its peers to ack the last changes. */
const FINAL_PUSH_MS = 1_000;

export interface ReplicatorOptions {
  /** REPLICATION_INTERVAL_MS */
  readonly intervalMs: number;
  readonly buckets: number;
  readonly metrics: Metrics;
  /** Whether LOG_URL is set. */
  readonly hasLog?: boolean;
  readonly antiEntropyPeriodMs?: number;
  readonly random: () => number;
  readonly warn: (message: string) => void;
}

/**
 * Replicates a store with its peers: pushes its changes over one link a peer, merges theirs, and runs anti-entropy in the background.
 * Gateways that share a store lease its buckets, and each replicates those that it leases.
 */
export class Replicator implements PeerService {
  readonly #links: readonly PeerLink[];
  readonly #changeReader: ChangeReader;
  readonly #antiEntropy: AntiEntropy;
  readonly #admission: DeltaAdmission;
  /** `null`: unknown yet. */
  #leasedBuckets: readonly number[] | null = null;
  readonly #startedAtMs: number;
  #isBackfilling = false;
  #isTimeChecked = false;
  #timers: Timer[] = [];
  #isClosed = false;

  constructor(
    private readonly store: ReplicatedStore,
    private readonly peers: readonly Peer[],
    private readonly clock: Clock,
    private readonly options: ReplicatorOptions,
  ) {
    this.#startedAtMs = clock.nowMs();
    const names = peers.map(({ region }) => region);
    const { intervalMs, antiEntropyPeriodMs = ANTI_ENTROPY_PERIOD_MS, buckets, random, warn } = options;
    this.#antiEntropy = new AntiEntropy(store, clock, antiEntropyPeriodMs, buckets);
    this.#admission = new DeltaAdmission(new Set(names), clock, warn, options.hasLog);
    const clockRewind = new AheadClockReset(store, clock, () => this.#links, warn);
    const changeReader = new ChangeReader(store, names, clock, intervalMs, random() * intervalMs);
    this.#changeReader = changeReader;
    const linkOptions: PeerLinkOptions = {
      random,
      warn,
      changeReader,
      peers: names,
      leasedBuckets: () => this.#leasedBuckets,
      reportLostHistory: (lost, region) => this.#reportLostHistory(lost, region),
      ackedUpTo: (bucket, own) => this.#ackedUpTo(bucket, own),
      rewindClocks: async () => {
        await clockRewind.run(this.#leasedBuckets ?? []);
        changeReader.invalidate();
      },
    };
    this.#links = peers.map((peer) => new PeerLink(store, peer, clock, linkOptions));
  }

  start(): void {
    void this.#acquireLeases();
    this.#scheduleAntiEntropy();
    for (const link of this.#links) link.start();
  }

  /** Pushes the last changes. A peer that does not ack them in time gets them from the next holder of the leases. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const timer of this.#timers) timer.cancel();
    this.#changeReader.invalidate();
    let limit: Timer | undefined;
    const late = new Promise<void>((resolve) => void (limit = this.clock.after(FINAL_PUSH_MS, resolve)));
    await Promise.race([Promise.all(this.#links.map((link) => link.close())), late]);
    limit?.cancel();
  }

  /** Some leased buckets lost history and get it back from the peers. */
  get isBackfilling(): boolean {
    return this.#isBackfilling;
  }

  linkStatuses(): LinkStatus[] {
    const { rejectedByRegion } = this.#admission;
    return this.#links.map(({ status }) => ({ ...status, rejections: rejectedByRegion.get(status.region) ?? 0 }));
  }

  async mergeFrom(from: string, deltas: readonly Delta[]): Promise<readonly DeltaAck[]> {
    const admitted = this.#admission.admit(from, deltas);
    const complete = completeChoices(
      admitted.map(({ delta }) => delta),
      this.options.metrics,
    );
    const merged = this.store.merge(complete);
    const acks = await merged.catch((error: unknown) => {
      this.#admission.reportMergeFailure(from, error);
      throw error;
    });
    return acks.map((ack, i) => {
      const { rejection } = admitted[i]!;
      return rejection === undefined ? ack : { ...ack, rejection };
    });
  }

  compareDigests(_from: string, digests: readonly BucketDigest[]): Promise<readonly Difference[]> {
    return Promise.resolve(this.#antiEntropy.findDifferences(digests));
  }

  readPosts(posts: readonly string[]): Promise<readonly Delta[]> {
    return this.store.readPosts(posts);
  }

  #ackedUpTo(bucket: number, own: Incarnation): number {
    return Math.min(...this.#links.map((link) => link.ackedUpTo(bucket, own)));
  }

  async #acquireLeases(): Promise<void> {
    try {
      const leased = await this.store.acquireLeases(this.clock.wallMs());
      // Until the leases of the previous process expire, no gateway knows the lag of its peers.
      const isKnown = leased.length > 0 || this.clock.nowMs() - this.#startedAtMs > LEASES_EXPIRED_AFTER_MS;
      this.#leasedBuckets = isKnown ? leased : null;
      await this.#completeBackfills(leased);
    } catch {
      // The store is down, so no link can read changes either. The next renewal tries again.
    }
    this.#after(LEASE_RENEWAL_MS, () => void this.#acquireLeases());
  }

  /** A backfill is complete when every region that is up has finished a full sync. */
  async #completeBackfills(leased: readonly number[]): Promise<void> {
    const up = this.#links.filter((link) => link.isUp).map(({ region }) => region);
    const statuses = await this.store.bucketStatus(leased);
    if (!this.#isTimeChecked) this.#checkTime(statuses);
    const complete = leased.filter((_, i) => {
      const { backfilling, syncedFrom } = statuses[i]!;
      return backfilling && up.length > 0 && up.every((region) => syncedFrom.includes(region));
    });
    this.#isBackfilling = statuses.filter(({ backfilling }) => backfilling).length > complete.length;
    if (complete.length === 0) return;
    await this.store.completeBackfill(complete);
    this.options.warn(`backfill of ${complete.length} buckets from ${up.join(', ')} is complete`);
  }

  /** Runs once. The stamps of the data show a clock that is behind now, or was ahead. */
  #checkTime(statuses: readonly BucketStatus[]): void {
    if (statuses.length === 0) return;
    this.#isTimeChecked = true;
    const latestMs = Math.max(...statuses.map(({ clock }) => toWallMs(clock)));
    const aheadMs = latestMs - this.clock.wallMs();
    if (aheadMs <= TIME_AHEAD_MAX_MS) return;
    const minutes = Math.round(aheadMs / 60_000);
    this.options.warn(
      `the data has stamps of ${new Date(latestMs).toISOString()}, ${minutes} minutes ahead of this machine's clock: if the clock is ` +
        'behind, set it right (NTP); if it was ahead before, the buckets recover once another region rejects them',
    );
  }

  #reportLostHistory(buckets: number, region: string): void {
    this.#isBackfilling = true;
    this.options.warn(`${buckets} buckets are behind region ${region}; starting backfill`);
  }

  #scheduleAntiEntropy(): void {
    const { digests, comparison } = this.#antiEntropy.delaysMs;
    this.#after(digests, () => {
      const computed = this.#antiEntropy.computeDigests().catch(() => undefined);
      this.#after(comparison, () => {
        void computed.then(() => this.#repairPeers()).then(() => this.#scheduleAntiEntropy());
      });
    });
  }

  async #repairPeers(): Promise<void> {
    for (const [i, peer] of this.peers.entries()) {
      if (!this.#links[i]!.isUp) continue;
      try {
        const repaired = await this.#antiEntropy.repairPeer(peer, this.#leasedBuckets ?? []);
        if (repaired === 0) continue;
        this.options.warn(`anti-entropy repaired ${repaired} posts that differed from region ${peer.region}`);
      } catch {
        // The link logs the error of the peer. The next period tries again.
      }
    }
  }

  #after(ms: number, call: () => void): void {
    if (this.#isClosed) return;
    const timer = this.clock.after(ms, () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
      call();
    });
    this.#timers.push(timer);
  }
}
