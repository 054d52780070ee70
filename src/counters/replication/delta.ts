import type { PostCounts } from '../batch.js';
import type { Key64 } from '../ids.js';
import type { Incarnation, RegionIncarnation } from '../pn-counter.js';

/** What one region has of another: everything that life has changed up to a stamp. */
export interface VersionVectorEntry {
  readonly epoch: number;
  readonly nonce: number;
  readonly upTo: number;
  /** All regions are known to have what the source has changed up to this stamp. */
  readonly ackedUpTo: number;
}

/** Nothing was ever heard of the region. */
export const NEVER_SEEN: VersionVectorEntry = { epoch: 0, nonce: 0, upTo: 0, ackedUpTo: 0 };

/** The life that ships. Buckets that began one at the same time share it. */
export interface Source {
  /** Life of the source that counts in the bucket now. */
  readonly source: RegionIncarnation;
  /** All stamps of that life are above it; and of those that it goes on from. */
  readonly startedAtStamp: number;
  readonly predecessors: readonly Incarnation[];
}

/**
 * A part of one bucket's state, as a region sends it to a peer. Every value is absolute, so that a delta may arrive late, twice, or never.
 *
 *     changes         changes of the source after `after` and up to `upTo`, latest state only
 *     full-sync       posts with all their state at the source, whoever counted it; `upTo` is `after`
 *     full-sync-end   the last delta of a full sync, which contained everything up to `upTo`
 *     repair          posts that differ at the receiver and that nobody has changed since the stamp `after`
 */
export interface Delta extends Source {
  readonly kind: 'changes' | 'full-sync' | 'full-sync-end' | 'repair';
  readonly bucket: number;
  readonly after: number;
  readonly upTo: number;
  /** All peers of the source are known to have what it has changed up to this stamp. */
  readonly ackedUpTo: number;
  /**
   * Stamp up to which all regions have heard of everything: what the source has no register for is from before. With an end: as
   * it was when the scan began.
   */
  readonly stableStamp: number;
  readonly posts: readonly PostDelta[];
  /** With an end: the life of the receiver that was shown all. Another one may have lost it. */
  readonly fullSyncReceiver: Incarnation | null;
}

export interface PostDelta {
  readonly post: string;
  readonly updatedAtMs: number;
  readonly entries: readonly EntryDelta[];
  readonly registers: readonly ToggleRegister[];
  /** Of a scan and of quiet posts: of each toggle the actors that have it on and no register. */
  readonly members: readonly MembersDelta[];
}

/** A region's share of a metric's counter. */
export interface EntryDelta {
  readonly metric: number;
  readonly incarnation: RegionIncarnation;
  readonly p: number;
  readonly n: number;
}

/** The last word of an actor on a toggle, which some region may not know yet. */
export interface ToggleRegister {
  readonly metric: number;
  readonly actor: Key64;
  readonly stamp: number;
  readonly on: boolean;
}

/** Those actors of a large set whose key falls into one of several parts: see `subsetOf`. */
export interface MembersDelta {
  readonly metric: number;
  readonly subset: number;
  readonly subsets: number;
  readonly actors: readonly Key64[];
}

/** Which of this many parts of a set an actor is in. */
export function subsetOf({ hi, lo }: Key64, subsets: number): number {
  return ((hi ^ lo) >>> 0) % subsets;
}

/**
 * Why nothing of a shipment was looked at: `ahead`: its stamps are too far ahead of the receiver's clock; `entries`: it counts what cannot
 * be.
 */
export type Rejection = 'ahead' | 'entries';

/**
 * The answer to a shipment: what the receiver has of the source's bucket now. Refused: nothing of it was merged, for the
 * life is not newer than one that was heard of, which the receipt names then, or may give stamps that an older one has given.
 * Its source begins another, above both.
 */
export interface DeltaAck extends Incarnation {
  readonly bucket: number;
  readonly upTo: number;
  readonly incarnationRejected: boolean;
  readonly receiver: Incarnation;
  /** The source has told this life of the receiver all it knew. One before it may have known more. */
  readonly fullySynced: boolean;
  /** The receiver has lost history, and waits to be told of it by a scan. */
  readonly backfilling: boolean;
  /** The rest of the receipt says what the receiver has without the shipment. Left out: it was merged, or refused for its life. */
  readonly rejection?: Rejection;
}

/** What merging a shipment did. */
export interface MergeResult {
  readonly ack: DeltaAck;
  readonly changed: readonly PostCounts[];
  readonly remoteToggles: readonly RemoteToggle[];
}

/** An actor's toggle was changed in another region. */
export interface RemoteToggle {
  readonly post: string;
  readonly metric: number;
  readonly actor: Key64;
  readonly on: boolean;
}
