import type { DeltaAck, Delta } from '../../counters/replication/delta.js';

/** Digests of a bucket's posts, by leaf: see digest.ts. */
export interface BucketDigest {
  readonly bucket: number;
  /** Of posts that have not changed since then, ms since 1970. */
  readonly beforeMs: number;
  /** An unsigned 32-bit number a leaf. */
  readonly leaves: readonly number[];
}

/** Leaves of a bucket that are not the same in two regions. */
export interface Difference {
  readonly bucket: number;
  readonly leaves: readonly number[];
}

/**
 * Another region, as this one reaches it. Calls reject when the peer is away, too slow, or refuses this region; all may be
 * repeated.
 */
export interface Peer {
  readonly region: string;
  /** Has shipments merged. @returns a receipt for each, in their order */
  push(shipments: readonly Delta[]): Promise<readonly DeltaAck[]>;
  /** Compares digests with the peer's own of the same time, if it has those. @returns the buckets that differ */
  compareDigests(digests: readonly BucketDigest[]): Promise<readonly Difference[]>;
  /** What the peer knows of these posts, as parts of a scan without members. */
  readPosts(posts: readonly string[]): Promise<readonly Delta[]>;
}

/** What a region does for its peers. The same calls, from the other side. */
export interface PeerService {
  /** @param from the region that calls */
  mergeFrom(from: string, shipments: readonly Delta[]): Promise<readonly DeltaAck[]>;
  compareDigests(from: string, digests: readonly BucketDigest[]): Promise<readonly Difference[]>;
  readPosts(posts: readonly string[]): Promise<readonly Delta[]>;
}

/** How a link to a peer is doing, for operators. */
export interface LinkStatus {
  readonly region: string;
  /** Whether the last call succeeded. */
  readonly up: boolean;
  /** Since when, ms since 1970; `null`: the peer was not called yet. */
  readonly sinceMs: number | null;
  /** Error of the last failed call; while the link is up, which buckets the peer rejects and why; else `''`. */
  readonly error: string;
  /**
   * Age of the oldest change that the peer lacks, seconds; 0 if it has all. `null`, like `lagChanges`, while it is unknown what the peer
   * has: until it has acked all buckets after the start of this gateway, and during a full sync.
   */
  readonly lagSeconds: number | null;
  /** Changed posts and toggles that the peer lacks. A lower bound if a bucket has changed too much. */
  readonly lagChanges: number | null;
  /** Since boot: deltas that the peer rejected because their incarnation is over. */
  readonly rejectedDeltas: number;
  /** Since boot: incarnations of buckets started because the peer had seen a later one. */
  readonly incarnationsStarted: number;
  /** Since boot. */
  readonly fullSyncs: number;
  /** Buckets that the peer rejects now, because their stamps are ahead of its clock or their counts are impossible. */
  readonly rejectedBuckets: number;
  /** Since boot: deltas of the peer that were rejected here for the same reasons. */
  readonly rejections: number;
}
