import type { Observable } from 'rxjs';
import type { Incarnation } from '../counters/pn-counter.js';
import type { Delta, DeltaAck, RemoteToggle } from '../counters/replication/delta.js';

/** Asks a bucket for the changes that one peer lacks. */
export interface ChangesRequest {
  readonly bucket: number;
  /** The peer has everything that changed here up to this stamp, … */
  readonly after: number;
  /** … and all peers have what changed up to this one. */
  readonly ackedUpTo: number;
}

/** One step of a full sync. */
export interface FullSyncPage {
  readonly deltas: readonly Delta[];
  /** Cursor of the next page; `null`: this was the last. */
  readonly next: string | null;
}

/** Requirements on an incarnation, so that peers accept it as a new one. */
export interface NewIncarnation {
  /** Its epoch is above this one. */
  readonly epoch: number;
  /** Its stamps are above this one. */
  readonly clock: number;
  /** Whether peers have more of what earlier incarnations counted than this store has. */
  readonly needsBackfill: boolean;
  /**
   * Whether the clock of earlier incarnations had run ahead: then it is set back to `clock` if it is above it, and later toggle updates are
   * restamped. Nothing was lost.
   */
  readonly rewindsClock: boolean;
}

/** The state of replication in one bucket of this store. */
export interface BucketStatus {
  readonly epoch: number;
  readonly nonce: number;
  readonly clock: number;
  /** The clock that was recovered at start. What earlier incarnations counted after it is lost here. */
  readonly recoveredUpTo: number;
  /** Lost counts are being restored from peers. */
  readonly backfilling: boolean;
  /** The regions whose full sync the current incarnation got. */
  readonly syncedFrom: readonly string[];
}

/**
 * The port of a store to other regions. Its meaning is that of src/counters/replication: `buildDelta`, `buildFullPost`, `mergeDelta`,
 * `restamp`, `rewindClock`. Everything that it returns is committed and durable.
 */
export interface ReplicatedStore {
  /** Whether a failover loses the last commits, which gateways then replay. A restored backup loses commits without a replay. */
  readonly losesCommitsOnFailover: boolean;

  /**
   * The buckets that this gateway replicates now: under a lease of some seconds where several gateways share the store. Called each
   * second. A store that `losesCommitsOnFailover` moves the clocks of these buckets up to the wall time, so that the clock that an
   * incarnation recovers says how old the data is, even if nothing was counted for long.
   */
  acquireLeases(wallMs: number): Promise<readonly number[]>;

  bucketStatus(buckets: readonly number[]): Promise<readonly BucketStatus[]>;

  /**
   * By request: the changes that the peer lacks, about `limit` entries; `null`: it needs a full sync. Forgets what all peers acknowledged.
   * @param peers the names of all other regions
   */
  changesSince(
    requests: readonly ChangesRequest[],
    peers: readonly string[],
    limit: number,
  ): Promise<readonly (Delta | null)[]>;

  /**
   * Registers incarnations of a peer before full syncs for them: deltas of earlier incarnations of that region are rejected from now on.
   * @returns for each, whether it is the latest incarnation known; else, and when two share an epoch, others are not rejected
   */
  observeIncarnations(
    region: string,
    incarnations: readonly (readonly [bucket: number, incarnation: Incarnation])[],
  ): Promise<readonly boolean[]>;

  /** Posts of these buckets in some order, from `cursor` on (`''`: from the first), about `limit` entries and members. */
  fullSyncPage(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<FullSyncPage>;

  /** Everything that is here of these posts, as deltas of a full sync without members: only registers and entries. */
  readPosts(posts: readonly string[]): Promise<readonly Delta[]>;

  /** Merges deltas, each whole or not at all, and publishes what they changed. */
  merge(deltas: readonly Delta[]): Promise<readonly DeltaAck[]>;

  /** Starts an incarnation of these buckets, unless the current one meets the requirements. */
  startIncarnation(buckets: readonly number[], incarnation: NewIncarnation): Promise<void>;

  /** The backfill is over: peers have nothing that is missing here, so `recoveredUpTo` becomes the clock. */
  completeBackfill(buckets: readonly number[]): Promise<void>;

  /** Toggles of actors that changed because of other regions. */
  readonly remoteToggles: Observable<readonly RemoteToggle[]>;
}
