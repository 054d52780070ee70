import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import type { PostDelta, Delta } from '../counters/replication/delta.js';
import { firstStampAt } from '../counters/replication/hybrid-clock.js';
import type { ReplicatedStore } from '../store/replicated-store.js';
import { digestPost, leafFor, LEAVES } from './digest.js';
import type { BucketDigest, Difference, Peer } from './transport/peer.js';

const PAGE_MAX = 500;
/** Between two pages: a million posts take 20 s, in which others have their turn. */
const PAGE_PAUSE_MS = 10;

/** Buckets are compared in this many turns, a period each. */
const TURNS = 16;

/** Digests of some buckets, of posts that have not changed since a moment. */
interface DigestTable {
  readonly beforeMs: number;
  readonly leaves: ReadonlyMap<number, number[]>;
}

/**
 * Finds what went wrong without anybody noticing: regions compare digests of their posts, and ship to each other what
 * differs, whoever counted it. All do so at the same times by their clocks, once a period, of posts that had been quiet at
 * its beginning and are so still: what is on its way is in none.
 *
 *     period   ├── a tenth ──┤ digests ────────────── half ┤ compare, ship ─────────────────┤
 *
 * Cost: one reading of all posts and their members in TURNS periods, and another of those where something differs.
 */
export class AntiEntropy {
  #table: DigestTable = { beforeMs: 0, leaves: new Map() };

  constructor(
    private readonly store: ReplicatedStore,
    private readonly clock: Clock,
    private readonly periodMs: number,
    private readonly buckets: number,
  ) {}

  /** When the next digests are due, and when they are to be compared: ms from now. */
  get delaysMs(): { readonly digest: number; readonly compare: number } {
    const since = this.clock.wallMs() % this.periodMs;
    const digest = this.periodMs / 10 - since;
    return { digest: digest < 0 ? digest + this.periodMs : digest, compare: 0.4 * this.periodMs };
  }

  async digest(): Promise<void> {
    const wallMs = this.clock.wallMs();
    const beforeMs = wallMs - (wallMs % this.periodMs);
    const leaves = new Map<number, number[]>();
    const turns = Math.min(TURNS, this.buckets);
    const first = (beforeMs / this.periodMs) % turns;
    for (let bucket = first; bucket < this.buckets; bucket += turns)
      leaves.set(bucket, new Array<number>(LEAVES).fill(0));
    for await (const { bucket, posts } of this.#pages(new Set(leaves.keys()))) {
      const sums = leaves.get(bucket)!;
      for (const post of posts) {
        const leaf = leafFor(post.post);
        if (post.updatedAtMs < beforeMs) sums[leaf] = (sums[leaf]! + digestPost(post)) >>> 0;
      }
    }
    this.#table = { beforeMs, leaves };
  }

  /** @returns how many posts were shipped, because they differ at the peer */
  async repairPeer(peer: Peer, led: readonly number[]): Promise<number> {
    const { beforeMs, leaves } = this.#table;
    const digests = led.flatMap((bucket) => {
      const own = leaves.get(bucket);
      return own === undefined ? [] : [{ bucket, beforeMs, leaves: own }];
    });
    const differing = new Map((await peer.compareDigests(digests)).map((one) => [one.bucket, new Set(one.leaves)]));
    if (differing.size === 0) return 0;
    const since = firstStampAt(beforeMs);
    let shipped = 0;
    for await (const shipment of this.#pages(new Set(differing.keys()))) {
      const posts = shipment.posts.filter((one) => isIn(one, beforeMs, differing.get(shipment.bucket)!));
      if (posts.length === 0) continue;
      await peer.push([{ ...shipment, kind: 'repair', after: since, upTo: since, posts }]);
      shipped += posts.length;
    }
    return shipped;
  }

  /** The other side of `repairPeer`. */
  compare(theirs: readonly BucketDigest[]): Difference[] {
    const { beforeMs, leaves } = this.#table;
    return theirs.flatMap((digest) => {
      const own = leaves.get(digest.bucket);
      if (own === undefined || digest.beforeMs !== beforeMs) return [];
      const differing = own.flatMap((sum, leaf) => (sum === digest.leaves[leaf] ? [] : [leaf]));
      return differing.length === 0 ? [] : [{ bucket: digest.bucket, leaves: differing }];
    });
  }

  async *#pages(buckets: ReadonlySet<number>): AsyncGenerator<Delta> {
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: Awaited<ReturnType<ReplicatedStore['fullSyncPage']>> = await this.store.fullSyncPage(
        buckets,
        cursor,
        PAGE_MAX,
      );
      yield* page.deltas;
      cursor = page.next;
      if (cursor !== null) await sleep(this.clock, PAGE_PAUSE_MS);
    }
  }
}

function isIn({ post, updatedAtMs }: PostDelta, beforeMs: number, leaves: ReadonlySet<number>): boolean {
  return updatedAtMs < beforeMs && leaves.has(leafFor(post));
}
