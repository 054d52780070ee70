import type { PostCounts } from '../batch.js';
import type { Key64 } from '../ids.js';
import type { HomeConfirmation, MilestoneHome, ReachedMilestone } from '../milestones.js';
import type { Incarnation, RegionIncarnation } from '../pn-counter.js';

/** A region's state of another one: it has everything that one incarnation changed up to a stamp. */
export interface VersionVectorEntry {
  readonly epoch: number;
  readonly nonce: number;
  readonly upTo: number;
  /** All regions are known to have what the source changed up to this stamp. */
  readonly ackedUpTo: number;
}

/** No delta of the region was ever received. */
export const NEVER_SEEN: VersionVectorEntry = { epoch: 0, nonce: 0, upTo: 0, ackedUpTo: 0 };

/** The incarnation that sends a delta. Buckets that started one at the same time share it. */
export interface Source {
  /** The incarnation of the source that counts in the bucket now. */
  readonly source: RegionIncarnation;
  /** All stamps of this incarnation are above it, and so are those of the incarnations that it succeeds. */
  readonly startedAtStamp: number;
  readonly predecessors: readonly Incarnation[];
}

/**
 * A part of one bucket's state, as a region sends it to a peer (Almeida, Shoker, Baquero: "Delta State Replicated Data Types", JPDC 111,
 * 2018). All values are absolute, so that a delta may arrive late, twice, or never.
 *
 *     changes         what the source changed after `after` and up to `upTo`, newest state only
 *     full-sync       posts with everything that the source has of them, whichever region counted it; `upTo` is `after`, until …
 *     full-sync-end   … the last delta of a full sync, which has covered everything that the source had at `upTo`
 *     repair          such posts, unchanged since the stamp `after`, that differ at the receiver
 */
export interface Delta extends Source {
  readonly kind: 'changes' | 'full-sync' | 'full-sync-end' | 'repair';
  readonly bucket: number;
  readonly after: number;
  readonly upTo: number;
  /** All peers of the source are known to have what it changed up to this stamp. */
  readonly ackedUpTo: number;
  /**
   * Up to this stamp all regions have everything, so that updates without a register at the source are from before it. In a
   * `full-sync-end`: its value when the full sync began.
   */
  readonly stableStamp: number;
  readonly posts: readonly PostDelta[];
  /** In a `full-sync-end`: the incarnation of the receiver that got the full sync. Another one may have lost it. */
  readonly fullSyncReceiver: Incarnation | null;
}

export interface PostDelta {
  readonly post: string;
  readonly updatedAtMs: number;
  readonly entries: readonly EntryDelta[];
  readonly registers: readonly ToggleRegister[];
  /** In a full sync and a repair: of each toggle the actors that have it on and no register. */
  readonly members: readonly MembersDelta[];
  /** One for each metric that has or had a home; absent in most posts. */
  readonly homes?: readonly HomeDelta[];
}

/** Which region decides about the milestones of a metric, and which regions have confirmed it, as far as the source knows. */
export interface HomeDelta {
  readonly metric: number;
  readonly home: MilestoneHome | null;
  readonly confirmations: readonly HomeConfirmation[];
  /** All that were reached, in whichever region. So who has a confirmation has what its region had decided before. */
  readonly reached: readonly ReachedMilestone[];
}

/** A region's entry of a metric's counter. */
export interface EntryDelta {
  readonly metric: number;
  readonly incarnation: RegionIncarnation;
  readonly p: number;
  readonly n: number;
}

/**
 * The latest update of a toggle by an actor, which some region may lack: a LWW register (Shapiro, Preguiça, Baquero, Zawirski: INRIA
 * RR-7506, 2011).
 */
export interface ToggleRegister {
  readonly metric: number;
  readonly actor: Key64;
  readonly stamp: number;
  readonly on: boolean;
}

/** The actors of a large set that are in one of its subsets: see `subsetOf`. */
export interface MembersDelta {
  readonly metric: number;
  readonly subset: number;
  readonly subsets: number;
  readonly actors: readonly Key64[];
}

/** The index of the subset that an actor is in, when a set is divided into this many. */
export function subsetOf({ hi, lo }: Key64, subsets: number): number {
  return ((hi ^ lo) >>> 0) % subsets;
}

/**
 * Why a receiver merged nothing of a delta. `ahead`: its stamps are too far ahead of the receiver's clock. `entries`: it has counts that
 * are impossible.
 */
export type Rejection = 'ahead' | 'entries';

/** The answer to a delta: what the receiver now has of the source's bucket. */
export interface DeltaAck extends Incarnation {
  readonly bucket: number;
  readonly upTo: number;
  /**
   * Nothing was merged, because the receiver knows a later incarnation of the source, which the ack then names, or because this one may
   * give stamps that an earlier one gave. The source starts another incarnation, above both.
   */
  readonly incarnationRejected: boolean;
  readonly receiver: Incarnation;
  /** This incarnation of the receiver got a full sync of the source. An earlier one may have had more. */
  readonly fullySynced: boolean;
  /** The receiver lost history and waits for full syncs to get it back. */
  readonly backfilling: boolean;
  /** The other fields say what the receiver has without the delta. Absent: it was merged, or its incarnation was rejected. */
  readonly rejection?: Rejection;
}

/** The result of merging a delta. */
export interface MergeResult {
  readonly ack: DeltaAck;
  readonly changed: readonly PostCounts[];
  readonly remoteToggles: readonly RemoteToggle[];
}

/** An actor's toggle that changed, but by no request to this gateway. */
export interface RemoteToggle {
  readonly post: string;
  readonly metric: number;
  readonly actor: Key64;
  readonly on: boolean;
}
