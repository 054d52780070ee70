import type { ForwardedOperation } from '../../counters/replication/forwarded-operation.js';
import type { Delta, DeltaAck } from '../../counters/replication/delta.js';

/** Digests of a bucket's posts, one a leaf: see post-digest.ts. */
export interface BucketDigest {
  readonly bucket: number;
  /** They cover the posts that have not changed since then, ms since 1970. */
  readonly beforeMs: number;
  /** Unsigned 32-bit numbers. */
  readonly leaves: readonly number[];
}

/** Leaves of a bucket that differ between two regions. */
export interface Difference {
  readonly bucket: number;
  readonly leaves: readonly number[];
}

/** Another region, as this one calls it. Calls reject if the peer is down, too slow, or rejects this region. All may be repeated. */
export interface Peer {
  readonly region: string;
  /** Has the peer merge deltas. @returns an ack for each, in their order */
  push(deltas: readonly Delta[]): Promise<readonly DeltaAck[]>;
  /** Compares digests with those that the peer has of the same time. @returns the buckets that differ */
  compareDigests(digests: readonly BucketDigest[]): Promise<readonly Difference[]>;
  /** @returns everything that the peer has of these posts, as deltas of a full sync without members */
  readPosts(posts: readonly string[]): Promise<readonly Delta[]>;
}

/** Another region, as it does operations for this one. The call may be repeated, and rejects as those of a Peer. */
export interface DecidingPeer {
  readonly region: string;
  /**
   * Has the peer do operations that it decides about; those of one session in this order.
   * @param operations at most OPERATIONS_PER_CALL_MAX
   * @returns their outcomes; ELSEWHERE: it was not done there, either
   */
  forward(operations: readonly ForwardedOperation[]): Promise<readonly number[]>;
  /** @returns whether events of the peer come through a log, so that it takes over no home in mode `strict` */
  hasLog(): Promise<boolean>;
}

/** The same calls, as this region serves them to its peers. Operations are ingest's: see ForwardedIntake. */
export interface PeerService {
  /** @param from the region that calls */
  mergeFrom(from: string, deltas: readonly Delta[]): Promise<readonly DeltaAck[]>;
  compareDigests(from: string, digests: readonly BucketDigest[]): Promise<readonly Difference[]>;
  readPosts(posts: readonly string[]): Promise<readonly Delta[]>;
}

/** State of the link to a peer, for operators. */
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
