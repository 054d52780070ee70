import type { PostCounts } from '../batch.js';
import type { Key64 } from '../ids.js';
import type { Life, Replica } from '../pn-counter.js';

/** What one region has of another: everything that life has changed up to a stamp. */
export interface Known {
  readonly epoch: number;
  readonly nonce: number;
  readonly upTo: number;
  /** All regions are known to have what the source has changed up to this stamp. */
  readonly confirmed: number;
}

/** Nothing was ever heard of the region. */
export const UNKNOWN: Known = { epoch: 0, nonce: 0, upTo: 0, confirmed: 0 };

/** The life that ships. Buckets that began one at the same time share it. */
export interface Source {
  /** Life of the source that counts in the bucket now. */
  readonly source: Replica;
  /** All stamps of that life are above it; and of those that it goes on from. */
  readonly born: number;
  readonly goesOn: readonly Life[];
}

/**
 * What a region tells a peer of one bucket. All of it is absolute, so that it may come late, twice, or not at all.
 *
 *     changes   what the source has changed after `after` and up to `upTo`, newest state only
 *     scan      posts with all that the source knows of them, whoever counted it; `upTo` is `after`, until …
 *     end       … the last part of a scan, which has shown all that there was at `upTo`
 *     quiet     such posts, that nobody has changed since the stamp `after`, and that are not the same at the receiver
 */
export interface Shipment extends Source {
  readonly kind: 'changes' | 'scan' | 'end' | 'quiet';
  readonly bucket: number;
  readonly after: number;
  readonly upTo: number;
  /** All peers of the source are known to have what it has changed up to this stamp. */
  readonly confirmed: number;
  /**
   * Stamp up to which all regions have heard of everything: what the source has no register for is from before. With an end: as
   * it was when the scan began.
   */
  readonly floor: number;
  readonly posts: readonly PostShipment[];
  /** With an end: the life of the receiver that was shown all. Another one may have lost it. */
  readonly shown: Life | null;
}

export interface PostShipment {
  readonly post: string;
  readonly updatedAtMs: number;
  readonly entries: readonly EntryShipment[];
  readonly registers: readonly Register[];
  /** Of a scan and of quiet posts: of each toggle the actors that have it on and no register. */
  readonly members: readonly MembersShipment[];
}

/** A region's share of a metric's counter. */
export interface EntryShipment {
  readonly metric: number;
  readonly replica: Replica;
  readonly p: number;
  readonly n: number;
}

/** The last word of an actor on a toggle, which some region may not know yet. */
export interface Register {
  readonly metric: number;
  readonly actor: Key64;
  readonly stamp: number;
  readonly on: boolean;
}

/** Those actors of a large set whose key falls into one of several parts: see `partOf`. */
export interface MembersShipment {
  readonly metric: number;
  readonly part: number;
  readonly parts: number;
  readonly actors: readonly Key64[];
}

/** Which of this many parts of a set an actor is in. */
export function partOf({ hi, lo }: Key64, parts: number): number {
  return ((hi ^ lo) >>> 0) % parts;
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
export interface Receipt extends Life {
  readonly bucket: number;
  readonly upTo: number;
  readonly refused: boolean;
  readonly receiver: Life;
  /** The source has told this life of the receiver all it knew. One before it may have known more. */
  readonly told: boolean;
  /** The receiver has lost history, and waits to be told of it by a scan. */
  readonly filling: boolean;
  /** The rest of the receipt says what the receiver has without the shipment. Left out: it was merged, or refused for its life. */
  readonly rejection?: Rejection;
}

/** What merging a shipment did. */
export interface Merged {
  readonly receipt: Receipt;
  readonly changed: readonly PostCounts[];
  readonly toggled: readonly Toggled[];
}

/** An actor's toggle was changed in another region. */
export interface Toggled {
  readonly post: string;
  readonly metric: number;
  readonly actor: Key64;
  readonly on: boolean;
}
