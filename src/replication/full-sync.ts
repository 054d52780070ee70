import { compareIncarnations, type Incarnation } from '../counters/pn-counter.js';
import type { Delta } from '../counters/replication/delta.js';
import type { BucketStatus, ReplicatedStore } from '../store/replicated-store.js';
import type { PeerProgress } from './peer-progress.js';

/** Changes of a page: about 20 KB. */
const PAGE_MAX = 500;

interface SyncedBucket {
  readonly own: BucketStatus;
  /** The incarnation of the peer that receives the full sync. */
  readonly receiver: Incarnation;
}

/** Sends a peer all posts of some buckets, page by page, and then the stamp up to which it has everything. */
export class FullSync {
  #cursor: string | null = '';
  #isObserved = false;
  /** By bucket: the lowest of all its pages. */
  readonly #stableStamps = new Map<number, number>();
  readonly #synced: Map<number, SyncedBucket>;

  /** @param statuses of the buckets to send. The peer has acked each of them */
  constructor(
    private readonly store: ReplicatedStore,
    private readonly region: string,
    statuses: ReadonlyMap<number, BucketStatus>,
    private readonly progress: PeerProgress,
    private readonly peers: readonly string[],
  ) {
    this.#synced = new Map(
      [...statuses].map(([bucket, own]) => [bucket, { own, receiver: progress.ack(bucket)!.receiver }] as const),
    );
  }

  get buckets(): Iterable<number> {
    return this.#synced.keys();
  }

  has(bucket: number): boolean {
    return this.#synced.has(bucket);
  }

  /** The end of this bucket is not sent: the peer rejected a page of it, or another gateway leases it. */
  drop(bucket: number): void {
    this.#synced.delete(bucket);
  }

  /** @returns the deltas to push next, and whether they are the last */
  async nextPage(): Promise<{ deltas: readonly Delta[]; isLast: boolean }> {
    if (!this.#isObserved) await this.#observeIncarnations();
    if (this.#synced.size === 0) return { deltas: [], isLast: true };
    if (this.#cursor === null) return { deltas: await this.#buildEnds(), isLast: true };
    const { deltas, next } = await this.store.fullSyncPage(new Set(this.buckets), this.#cursor, PAGE_MAX);
    this.#cursor = next;
    for (const { bucket, stableStamp } of deltas) {
      this.#stableStamps.set(bucket, Math.min(stableStamp, this.#stableStamps.get(bucket) ?? stableStamp));
    }
    return { deltas: deltas.filter(({ bucket, source }) => this.#isCurrent(bucket, source)), isLast: false };
  }

  /**
   * Drops buckets whose receiver is not the latest incarnation, or is one of two that share an epoch. Such a peer is about to start
   * another one, above both, and acks again.
   */
  async #observeIncarnations(): Promise<void> {
    const receivers = [...this.#synced].map(([bucket, { receiver }]) => [bucket, receiver] as const);
    const areLatest = await this.store.observeIncarnations(this.region, receivers);
    for (const [i, [bucket]] of receivers.entries()) {
      if (areLatest[i] === true) continue;
      this.drop(bucket);
      this.progress.delete(bucket);
    }
    this.#isObserved = true;
  }

  /** Buckets that started a new incarnation meanwhile get no end, but another full sync. */
  async #buildEnds(): Promise<Delta[]> {
    const requests = [...this.#synced].map(([bucket, { own }]) => ({ bucket, after: own.clock, ackedUpTo: 0 }));
    const found = await this.store.changesSince(requests, this.peers, 1);
    return found.flatMap((delta, i): Delta[] => {
      const { bucket } = requests[i]!;
      const { own, receiver } = this.#synced.get(bucket)!;
      if (delta === null || !this.#isCurrent(bucket, delta.source)) return [];
      const stamps = { after: own.clock, upTo: own.clock, stableStamp: this.#stableStamps.get(bucket) ?? 0 };
      return [{ ...delta, ...stamps, kind: 'full-sync-end', posts: [], fullSyncReceiver: receiver }];
    });
  }

  #isCurrent(bucket: number, source: Incarnation): boolean {
    const synced = this.#synced.get(bucket);
    return synced !== undefined && compareIncarnations(source, synced.own) === 'same';
  }
}
