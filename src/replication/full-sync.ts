import { type Incarnation, compareIncarnations } from '../counters/pn-counter.js';
import type { Delta } from '../counters/replication/delta.js';
import type { BucketStatus, ReplicatedStore } from '../store/replicated-store.js';
import type { PeerProgress } from './peer-progress.js';

/** Things of a page: some 20 KB. */
const PAGE_MAX = 500;

interface SyncedBucket {
  readonly own: BucketStatus;
  /** The life of the peer that is shown it all. */
  readonly receiver: Incarnation;
}

/** Shows a peer all posts of some buckets, page by page, and then says that this was all there was when it began. */
export class FullSync {
  #cursor: string | null = '';
  #isObserved = false;
  /** By bucket: the lowest that a page had. */
  readonly #stableStamps = new Map<number, number>();
  readonly #synced: Map<number, SyncedBucket>;

  /** @param lives the own region's, of the buckets that are scanned; the peer has answered for all of them */
  constructor(
    private readonly store: ReplicatedStore,
    private readonly region: string,
    lives: ReadonlyMap<number, BucketStatus>,
    private readonly progress: PeerProgress,
    private readonly peers: readonly string[],
  ) {
    const scanned = [...lives].map(
      ([bucket, own]) => [bucket, { own, receiver: progress.ack(bucket)!.receiver }] as const,
    );
    this.#synced = new Map(scanned);
  }

  get buckets(): Iterable<number> {
    return this.#synced.keys();
  }

  has(bucket: number): boolean {
    return this.#synced.has(bucket);
  }

  /** A page was refused: the end of it all is not to be said. */
  drop(bucket: number): void {
    this.#synced.delete(bucket);
  }

  /** @returns what to ship next, and whether it is the last */
  async nextPage(): Promise<{ deltas: readonly Delta[]; done: boolean }> {
    if (!this.#isObserved) await this.#observeIncarnations();
    if (this.#synced.size === 0) return { deltas: [], done: true };
    if (this.#cursor === null) return { deltas: await this.#buildEnds(), done: true };
    const { deltas, next } = await this.store.fullSyncPage(new Set(this.buckets), this.#cursor, PAGE_MAX);
    this.#cursor = next;
    for (const { bucket, stableStamp: floor } of deltas) {
      this.#stableStamps.set(bucket, Math.min(floor, this.#stableStamps.get(bucket) ?? floor));
    }
    return { deltas: deltas.filter(({ bucket, source }) => this.#isOf(bucket, source)), done: false };
  }

  /** Of two lives of one epoch neither can be told all: the receiver is about to begin another, above both, and is asked again. */
  async #observeIncarnations(): Promise<void> {
    const lives = [...this.#synced].map(([bucket, { receiver }]) => [bucket, receiver] as const);
    const heard = await this.store.observeIncarnations(this.region, lives);
    for (const [i, [bucket]] of lives.entries()) {
      if (heard[i] === true) continue;
      this.drop(bucket);
      this.progress.delete(bucket);
    }
    this.#isObserved = true;
  }

  /** A life that began meanwhile has not been shown: it is scanned for again. */
  async #buildEnds(): Promise<Delta[]> {
    const asked = [...this.#synced].map(([bucket, { own }]) => ({ bucket, after: own.clock, ackedUpTo: 0 }));
    const found = await this.store.changesSince(asked, this.peers, 1);
    return found.flatMap((shipment, i) => {
      const { bucket } = asked[i]!;
      const { own, receiver } = this.#synced.get(bucket)!;
      if (shipment === null || !this.#isOf(bucket, shipment.source)) return [];
      const stableStamp = this.#stableStamps.get(bucket) ?? 0;
      return [
        {
          ...shipment,
          kind: 'full-sync-end',
          posts: [],
          after: own.clock,
          upTo: own.clock,
          stableStamp,
          fullSyncReceiver: receiver,
        },
      ];
    });
  }

  #isOf(bucket: number, source: Incarnation): boolean {
    const scanned = this.#synced.get(bucket);
    return scanned !== undefined && compareIncarnations(source, scanned.own) === 'same';
  }
}
