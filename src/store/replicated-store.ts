import type { Observable } from 'rxjs';
import type { Incarnation } from '../counters/pn-counter.js';
import type { DeltaAck, Delta, RemoteToggle } from '../counters/replication/delta.js';

/** What is asked of a bucket on behalf of one peer. */
export interface ChangesRequest {
  readonly bucket: number;
  /** The peer has all that was changed here up to this stamp … */
  readonly after: number;
  /** … and all peers have what was changed up to this one. */
  readonly ackedUpTo: number;
}

/** One step of a scan. */
export interface FullSyncPage {
  readonly deltas: readonly Delta[];
  /** Where to go on; `null`: that was all. */
  readonly next: string | null;
}

/** What a life has to be so that peers take it for a new one. */
export interface NewIncarnation {
  /** Its epoch is above this one. */
  readonly epoch: number;
  /** Its stamps are above this one. */
  readonly clock: number;
  /** Whether peers know better than this store what the lives before have counted. */
  readonly needsBackfill: boolean;
  /**
   * The clock of the lives before had run ahead: it goes back to `clock`, where it is above that, and what they have said since is given
   * again. Nobody has lost anything.
   */
  readonly rewindsClock: boolean;
}

/** How a bucket of this store stands. */
export interface BucketStatus {
  readonly epoch: number;
  readonly nonce: number;
  readonly clock: number;
  /** The clock that the present life found when it began: what was counted after it is lost here. */
  readonly recoveredUpTo: number;
  /** What was lost is being filled from peers. */
  readonly backfilling: boolean;
  /** The regions that have told the present life all they know. */
  readonly syncedFrom: readonly string[];
}

/**
 * What a store does for other regions; its meaning is that of src/counters: `changesAfter`, `scanOf`, `merge`, `giveAnew`, `comeBack`.
 * Everything told is committed and durable.
 */
export interface ReplicatedStore {
  /** Whether lives of this store end with their last commits lost and sent again by gateways: a failover, and no restore. */
  readonly losesCommitsOnFailover: boolean;

  /**
   * The buckets that this gateway is to ship for now: under a lease of some seconds where several gateways share the store.
   * Called each second. A store that `losesCommitsOnFailover` takes the clocks of these buckets forward to the wall time, if they are behind:
   * so a life that begins finds a clock that tells how old the store is, also where nothing was counted for long.
   */
  acquireLeases(wallMs: number): Promise<readonly number[]>;

  bucketStatus(buckets: readonly number[]): Promise<readonly BucketStatus[]>;

  /**
   * Of each bucket what its peer lacks, about `limit` things; `null`: it has to be scanned for. What all peers have confirmed is
   * forgotten. @param peers the names of all other regions
   */
  changesSince(
    requests: readonly ChangesRequest[],
    peers: readonly string[],
    limit: number,
  ): Promise<readonly (Delta | null)[]>;

  /**
   * Lives of a peer are about to be scanned for: what older ones of that region have sent is refused from now on.
   * @returns of each whether it is the newest that was heard of; else, and of two of one epoch, what others send is not refused
   */
  observeIncarnations(
    region: string,
    incarnations: readonly (readonly [bucket: number, life: Incarnation])[],
  ): Promise<readonly boolean[]>;

  /** Posts of these buckets in some order, from `cursor` on (`''`: from the first), about `limit` things. */
  fullSyncPage(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<FullSyncPage>;

  /** All that is known of these posts here, as parts of a scan, without members: only registers and entries. */
  readPosts(posts: readonly string[]): Promise<readonly Delta[]>;

  /** Merges them, each whole or not at all, and announces what they changed. */
  merge(deltas: readonly Delta[]): Promise<readonly DeltaAck[]>;

  /**
   * Begins a life of these buckets, unless the present one is such already.
   */
  startIncarnation(buckets: readonly number[], incarnation: NewIncarnation): Promise<void>;

  /** Filling is over: nothing is lost any more that anybody knows of, so that `recoveredUpTo` is now the clock. */
  completeBackfill(buckets: readonly number[]): Promise<void>;

  /** Toggles of actors that other regions have changed. */
  readonly remoteToggles: Observable<readonly RemoteToggle[]>;
}
