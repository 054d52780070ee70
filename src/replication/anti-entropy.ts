import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import type { Delta, PostDelta } from '../counters/replication/delta.js';
import { firstStampAt } from '../counters/replication/hybrid-clock.js';
import type { FullSyncPage, ReplicatedStore } from '../store/replicated-store.js';
import { digestPost, leafFor, LEAVES } from './post-digest.js';
import type { BucketDigest, Difference, Peer } from './transport/peer.js';

const PAGE_MAX = 500;
/** Pause between two pages, for other work: a million posts take 20 s. */
const PAGE_PAUSE_MS = 10;

/** All buckets are compared within this many periods, a fraction of them in each. */
const TURNS = 16;

/** Digests of some buckets: of their posts that have not changed since `beforeMs`. */
interface DigestTable {
  readonly beforeMs: number;
  readonly leaves: ReadonlyMap<number, number[]>;
}

/**
 * Finds silent faults: regions compare digests of their posts and push each other the posts that differ, with all entries. All
 * regions do so at the same times by their clocks, once a period. A digest covers the posts that were idle at the beginning of the period
 * and still are, so that changes in flight make no difference.
 *
 *     period   ├── a tenth ──┤ compute digests ────── half ┤ compare, repair ───────────────┤
 *
 * Cost: one read of all posts and their members in TURNS periods, and another one of the buckets that differ.
 */
export class AntiEntropy {
  #table: DigestTable = { beforeMs: 0, leaves: new Map() };

  constructor(
    private readonly store: ReplicatedStore,
    private readonly clock: Clock,
    private readonly periodMs: number,
    private readonly buckets: number,
  ) {}

  /** Time until the next digests are due, and from these until the comparison. */
  get delaysMs(): { readonly digests: number; readonly comparison: number } {
    const sinceMs = this.clock.wallMs() % this.periodMs;
    const digests = this.periodMs / 10 - sinceMs;
    return { digests: digests < 0 ? digests + this.periodMs : digests, comparison: 0.4 * this.periodMs };
  }

  async computeDigests(): Promise<void> {
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

  /** @returns how many posts were pushed because they differ at the peer */
  async repairPeer(peer: Peer, leasedBuckets: readonly number[]): Promise<number> {
    const { beforeMs, leaves } = this.#table;
    const digests = leasedBuckets.flatMap((bucket) => {
      const own = leaves.get(bucket);
      return own === undefined ? [] : [{ bucket, beforeMs, leaves: own }];
    });
    const differing = new Map((await peer.compareDigests(digests)).map((one) => [one.bucket, new Set(one.leaves)]));
    if (differing.size === 0) return 0;
    const since = firstStampAt(beforeMs);
    let repaired = 0;
    for await (const delta of this.#pages(new Set(differing.keys()))) {
      const posts = delta.posts.filter((one) => isCovered(one, beforeMs, differing.get(delta.bucket)!));
      if (posts.length === 0) continue;
      await peer.push([{ ...delta, kind: 'repair', after: since, upTo: since, posts }]);
      repaired += posts.length;
    }
    return repaired;
  }

  /** Compares the digests of a peer with the own ones of the same period: the receiving side of `repairPeer`. */
  findDifferences(theirs: readonly BucketDigest[]): Difference[] {
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
      const page: FullSyncPage = await this.store.fullSyncPage(buckets, cursor, PAGE_MAX);
      yield* page.deltas;
      cursor = page.next;
      if (cursor !== null) await sleep(this.clock, PAGE_PAUSE_MS);
    }
  }
}

function isCovered({ post, updatedAtMs }: PostDelta, beforeMs: number, leaves: ReadonlySet<number>): boolean {
  return updatedAtMs < beforeMs && leaves.has(leafFor(post));
}
