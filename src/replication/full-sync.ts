import { type Life, orderOf } from '../counters/pn-counter.js';
import type { Shipment } from '../counters/replication/delta.js';
import type { BucketStanding, ReplicatedStore } from '../store/replicated-store.js';
import type { PeerProgress } from './peer-progress.js';

/** Things of a page: some 20 KB. */
const PAGE_MAX = 500;

interface Scanned {
  readonly own: BucketStanding;
  /** The life of the peer that is shown it all. */
  readonly receiver: Life;
}

/** Shows a peer all posts of some buckets, page by page, and then says that this was all there was when it began. */
export class FullSync {
  #cursor: string | null = '';
  #heard = false;
  /** By bucket: the lowest that a page had. */
  readonly #floors = new Map<number, number>();
  readonly #scanned: Map<number, Scanned>;

  /** @param lives the own region's, of the buckets that are scanned; the peer has answered for all of them */
  constructor(
    private readonly store: ReplicatedStore,
    private readonly region: string,
    lives: ReadonlyMap<number, BucketStanding>,
    private readonly remotes: PeerProgress,
    private readonly peers: readonly string[],
  ) {
    const scanned = [...lives].map(
      ([bucket, own]) => [bucket, { own, receiver: remotes.receipt(bucket)!.receiver }] as const,
    );
    this.#scanned = new Map(scanned);
  }

  get buckets(): Iterable<number> {
    return this.#scanned.keys();
  }

  has(bucket: number): boolean {
    return this.#scanned.has(bucket);
  }

  /** A page was refused: the end of it all is not to be said. */
  drop(bucket: number): void {
    this.#scanned.delete(bucket);
  }

  /** @returns what to ship next, and whether it is the last */
  async next(): Promise<{ shipments: readonly Shipment[]; done: boolean }> {
    if (!this.#heard) await this.#hear();
    if (this.#scanned.size === 0) return { shipments: [], done: true };
    if (this.#cursor === null) return { shipments: await this.#ends(), done: true };
    const { shipments, next } = await this.store.scan(new Set(this.buckets), this.#cursor, PAGE_MAX);
    this.#cursor = next;
    for (const { bucket, floor } of shipments) {
      this.#floors.set(bucket, Math.min(floor, this.#floors.get(bucket) ?? floor));
    }
    return { shipments: shipments.filter(({ bucket, source }) => this.#isOf(bucket, source)), done: false };
  }

  /** Of two lives of one epoch neither can be told all: the receiver is about to begin another, above both, and is asked again. */
  async #hear(): Promise<void> {
    const lives = [...this.#scanned].map(([bucket, { receiver }]) => [bucket, receiver] as const);
    const heard = await this.store.hear(this.region, lives);
    for (const [i, [bucket]] of lives.entries()) {
      if (heard[i] === true) continue;
      this.drop(bucket);
      this.remotes.delete(bucket);
    }
    this.#heard = true;
  }

  /** A life that began meanwhile has not been shown: it is scanned for again. */
  async #ends(): Promise<Shipment[]> {
    const asked = [...this.#scanned].map(([bucket, { own }]) => ({ bucket, after: own.clock, confirmed: 0 }));
    const found = await this.store.collect(asked, this.peers, 1);
    return found.flatMap((shipment, i) => {
      const { bucket } = asked[i]!;
      const { own, receiver } = this.#scanned.get(bucket)!;
      if (shipment === null || !this.#isOf(bucket, shipment.source)) return [];
      const floor = this.#floors.get(bucket) ?? 0;
      return [{ ...shipment, kind: 'end', posts: [], after: own.clock, upTo: own.clock, floor, shown: receiver }];
    });
  }

  #isOf(bucket: number, source: Life): boolean {
    const scanned = this.#scanned.get(bucket);
    return scanned !== undefined && orderOf(source, scanned.own) === 'same';
  }
}
