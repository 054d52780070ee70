import type { Key64 } from '../ids.js';
import { compareIncarnations, type Incarnation, REGIONS_MAX } from '../pn-counter.js';
import { ChangeFeed } from '../change-feed.js';
import { NEVER_SEEN, type VersionVectorEntry } from './delta.js';
import { firstStampAt, nextStamp, readRegionNumber, toRegionNumber } from './hybrid-clock.js';

const NO_INCARNATION: Incarnation = { epoch: 0, nonce: 0 };
/** More than this many at once would need as many clashes of one epoch; a peer that has an older one gets some updates restamped. */
export const PREDECESSORS_MAX = 4;

/** The part of a bucket's replication state that has to last as long as its counts. */
export interface PersistentReplicationState {
  /** The last stamp that was given or received. */
  clock: number;
  /** Stamp of the last change here, or up to which all peers acknowledged changes since: a peer that has it lacks nothing. */
  lastChangeStamp: number;
  /** The clock when the current incarnation started: all its stamps are above. */
  startedAtStamp: number;
  /** Incarnations that the current one succeeds without a loss: they ended only because of a clash of their epoch. */
  predecessors: readonly Incarnation[];
  /** The clock that was recovered at start. What earlier incarnations counted after it is lost here. */
  recoveredUpTo: number;
  /** Up to this stamp nothing is missing of what this region ever replicated. */
  completeUpTo: number;
  /** Lost counts are being restored from peers: what these have of earlier incarnations counts again. */
  backfilling: boolean;
  /** Regions whose full sync the current incarnation got; and the clock when it got the last of them, 0 while some are missing. */
  syncedFrom: readonly string[];
  syncedAtStamp: number;
  /** All peers are known to have what changed here up to this stamp, in whichever incarnation. */
  ackedUpTo: number;
  /** All regions have what changed in any of them up to this stamp: it needs no registers. */
  stableStamp: number;
  /** By region: what is here of it. */
  readonly versionVector: Map<string, VersionVectorEntry>;
  /**
   * By region: the latest incarnation that this region got to know, from the region or from others. Late deltas of an earlier one are
   * rejected, because they would bring what their region lost and never gets back; so are those of another one with the same epoch.
   */
  readonly latestIncarnations: Map<string, Incarnation>;
}

/** @param startsAt stamp up to which the data that is there has no stamps; 0: there is none */
export function newReplicationState(startsAt: number): PersistentReplicationState {
  return {
    clock: startsAt,
    lastChangeStamp: startsAt,
    startedAtStamp: startsAt,
    predecessors: [],
    recoveredUpTo: startsAt,
    completeUpTo: startsAt,
    backfilling: false,
    syncedFrom: [],
    syncedAtStamp: 0,
    ackedUpTo: startsAt,
    stableStamp: startsAt,
    versionVector: new Map(),
    latestIncarnations: new Map(),
  };
}

/** The replication state of an open bucket: its clock, its change feed, and what is known of other regions. */
export class ReplicationState {
  #feed: ChangeFeed;
  readonly #regionNumber: number;

  /** @param state changed in place; its owner writes it with the counts */
  constructor(
    region: string,
    readonly state: PersistentReplicationState,
  ) {
    this.#regionNumber = toRegionNumber(region);
    this.#feed = new ChangeFeed(state.lastChangeStamp);
  }

  get feed(): ChangeFeed {
    return this.#feed;
  }

  /** A new stamp, for a local change. */
  now(wallMs: number): number {
    this.state.clock = nextStamp(this.state.clock, wallMs, this.#regionNumber);
    return this.state.clock;
  }

  /** Whether this region gave the stamp. */
  isLocal(stamp: number): boolean {
    return readRegionNumber(stamp) === this.#regionNumber;
  }

  /** Moves the clock, so that later stamps are above a received one. */
  receive(stamp: number): void {
    if (stamp > this.state.clock) this.state.clock = stamp;
  }

  /** The own region's entries of the post's counters changed. */
  recordCount(post: string, stamp: number): void {
    this.state.lastChangeStamp = stamp;
    this.#feed.recordCount(post, stamp);
  }

  recordToggle(post: string, metric: number, actor: Key64, stamp: number): void {
    this.state.lastChangeStamp = stamp;
    this.#feed.recordToggle(post, metric, actor, stamp);
  }

  versionVectorEntry(region: string): VersionVectorEntry {
    return this.state.versionVector.get(region) ?? NEVER_SEEN;
  }

  latestIncarnation(region: string): Incarnation {
    return this.state.latestIncarnations.get(region) ?? NO_INCARNATION;
  }

  /** Whether counts of the region may be stored: made-up names of regions would make each record larger without end. */
  hasRoomFor(region: string): boolean {
    const { latestIncarnations } = this.state;
    return latestIncarnations.has(region) || latestIncarnations.size < REGIONS_MAX;
  }

  /** @returns whether it is the latest incarnation of the region, and no other has its epoch */
  observeIncarnation(region: string, incarnation: Incarnation): boolean {
    const { state } = this;
    const latest = this.latestIncarnation(region);
    if (incarnation.epoch <= latest.epoch) return compareIncarnations(incarnation, latest) === 'same';
    state.latestIncarnations.set(region, { epoch: incarnation.epoch, nonce: incarnation.nonce });
    // The new incarnation may not know that its full sync ended, and may have got more since, from incarnations that are over.
    state.syncedFrom = state.syncedFrom.filter((one) => one !== region);
    state.syncedAtStamp = 0;
    return true;
  }

  /** Starts an incarnation. It needs full syncs of all regions, which may have sent more to earlier incarnations. */
  startIncarnation(before: Incarnation): void {
    const { state } = this;
    state.predecessors = [...state.predecessors, { epoch: before.epoch, nonce: before.nonce }].slice(-PREDECESSORS_MAX);
    if (state.syncedAtStamp > 0) state.completeUpTo = state.clock;
    state.syncedFrom = [];
    state.syncedAtStamp = 0;
  }

  /** The store was started again, perhaps on a server that lacks the last commits: starts an incarnation without predecessors. */
  restart(before: Incarnation, wallMs: number): void {
    const { state } = this;
    this.startIncarnation(before);
    state.predecessors = [];
    state.recoveredUpTo = state.clock;
    state.clock = Math.max(state.clock, firstStampAt(wallMs));
    state.startedAtStamp = state.clock;
  }

  /**
   * The clock had run ahead: sets it back to `clock`, above which no peer has anything, and starts an incarnation. Nothing that was
   * counted is lost. Peers get it by full syncs, because the change feed starts again.
   */
  rewindClock(clock: number): void {
    const { state } = this;
    state.recoveredUpTo = Math.max(state.recoveredUpTo, state.clock);
    state.clock = clock;
    state.lastChangeStamp = clock;
    state.startedAtStamp = clock;
    state.completeUpTo = Math.min(state.completeUpTo, clock);
    state.ackedUpTo = Math.min(state.ackedUpTo, clock);
    state.stableStamp = Math.min(state.stableStamp, clock);
    this.#feed = new ChangeFeed(clock);
  }

  markSynced(region: string): void {
    const { state } = this;
    if (!state.syncedFrom.includes(region)) state.syncedFrom = [...state.syncedFrom, region];
  }

  /**
   * All peers acknowledged the changes of this incarnation up to `ackedUpTo`: the change feed drops them. What every region acknowledged
   * to every other is stable and needs no register, because whatever comes is later. Causal stability (Baquero, Almeida, Shoker: "Making
   * operation-based CRDTs operation-based", DAIS 2014).
   *
   * An incarnation that lost something does not take changes of earlier ones for acknowledged before it got full syncs of all regions
   * and replicated them: some regions may lack what only the lost part would have brought them.
   */
  advanceStability(ackedUpTo: number, peers: readonly string[]): void {
    const { state } = this;
    this.#feed.trim(ackedUpTo);
    state.lastChangeStamp = Math.max(state.lastChangeStamp, ackedUpTo);
    const isSynced = peers.every((peer) => state.syncedFrom.includes(peer));
    if (state.syncedAtStamp === 0 && isSynced) state.syncedAtStamp = state.clock;
    const isComplete = state.syncedAtStamp > 0 && ackedUpTo >= state.syncedAtStamp;
    state.ackedUpTo = Math.max(state.ackedUpTo, isComplete ? ackedUpTo : Math.min(ackedUpTo, state.completeUpTo));
    // A stamp that a peer knows to be acknowledged may be lost here since.
    const stableStamps = peers.map((peer) => {
      const entry = this.versionVectorEntry(peer);
      return Math.min(entry.ackedUpTo, entry.upTo);
    });
    state.stableStamp = Math.max(state.stableStamp, Math.min(state.ackedUpTo, ...stableStamps));
  }
}
