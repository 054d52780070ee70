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
  /** Whether the last call was answered. */
  readonly up: boolean;
  /** Since when it is so, ms since 1970; `null`: it was not tried yet. */
  readonly sinceMs: number | null;
  /** What the last call that failed said; while the link is up, of which buckets the peer takes nothing, and why; or `''`. */
  readonly error: string;
  /**
   * Age of the oldest change that the peer lacks, seconds; 0 if it has all. `null`, as `lagPosts` then is, while it is not known what
   * the peer has: since the start of this gateway it has not said so of all buckets, or it is being told everything.
   */
  readonly lagSeconds: number | null;
  /** Changed posts and toggles that the peer lacks; of a bucket of which too much has changed since, at least this many. */
  readonly lagPosts: number | null;
  /** Since boot: shipments the peer has refused, lives that were begun since it did, scans made for it. */
  readonly refusals: number;
  readonly epochBumps: number;
  readonly scans: number;
  /** Buckets of which the peer takes nothing now, because their stamps are ahead of its clock, or they count what cannot be. */
  readonly rejectedBuckets: number;
  /** Since boot: shipments of the peer that were not taken here for the same reasons. */
  readonly rejections: number;
}
