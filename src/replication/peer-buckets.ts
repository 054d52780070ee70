import type { Clock } from '../common/clock.js';
import type { ReplicatedStore } from '../store/replicated-store.js';
import { FullSyncQueue } from './full-sync-queue.js';
import { PeerLag } from './peer-lag.js';
import { PeerProgress } from './peer-progress.js';
import { PeerRejections } from './peer-rejections.js';

/** The state of each bucket at one peer, as its acks report it. */
export class PeerBuckets {
  readonly progress: PeerProgress;
  readonly lag = new PeerLag();
  readonly rejections: PeerRejections;
  readonly fullSyncs: FullSyncQueue;

  /** @param region the peer @param peers the names of all peers */
  constructor(
    store: ReplicatedStore,
    region: string,
    peers: readonly string[],
    clock: Clock,
    warn: (message: string) => void,
  ) {
    this.progress = new PeerProgress(clock);
    this.rejections = new PeerRejections(region, warn);
    this.fullSyncs = new FullSyncQueue(store, region, this.progress, peers);
  }

  /** Forgets the buckets that another gateway leases now. */
  keepOnly(leasedBuckets: readonly number[]): void {
    const kept = new Set(leasedBuckets);
    for (const state of [this.lag, this.progress, this.rejections, this.fullSyncs]) state.keepOnly(kept);
  }
}
