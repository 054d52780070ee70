import { ChangeFeed } from './change-feed.js';
import type { Key64 } from '../ids.js';
import { type Incarnation, compareIncarnations, REGIONS_MAX } from '../pn-counter.js';
import { type VersionVectorEntry, NEVER_SEEN } from './delta.js';
import { nextStamp, toRegionNumber, readRegionNumber, firstStampAt } from './hybrid-clock.js';

const NO_INCARNATION: Incarnation = { epoch: 0, nonce: 0 };
/** More lives of one epoch, at once, are not to be expected; a peer that knows an older one has some stamps given again. */
export const PREDECESSORS_MAX = 4;

/** What of a bucket's dealings with other regions has to last as long as its counts. */
export interface PersistentReplicationState {
  /** The last stamp that was given or seen. */
  clock: number;
  /** The stamp of what was changed here last, or what all have confirmed since: to a peer that has it nothing is to be told. */
  lastChangeStamp: number;
  /** The clock when the present life began: all its stamps are above. */
  startedAtStamp: number;
  /** Lives that the present one goes on from, with all they did: they only gave way to one that had taken their epoch. */
  predecessors: readonly Incarnation[];
  /** The clock that the present life found: what was counted later by the lives before is lost here. */
  recoveredUpTo: number;
  /** Up to here nothing is missing of what this region has told anybody. */
  completeUpTo: number;
  /** What was lost is being filled from peers: what they know of the lives before counts again. */
  backfilling: boolean;
  /** The regions that have told the present life all they know, and the clock when the last of them had; 0: not all have. */
  syncedFrom: readonly string[];
  syncedAtStamp: number;
  /** All peers are known to have what was changed here up to this stamp, whichever life did it. */
  ackedUpTo: number;
  /** All regions have what was changed in any up to this stamp: registers are not needed for it. */
  stableStamp: number;
  /** What is here of each other region. */
  readonly versionVector: Map<string, VersionVectorEntry>;
  /**
   * The newest life that was heard of, of each other region, by itself or from others. What one before it has sent, and comes
   * late, would be something that the region is never told of; and another of the same epoch is not it: both are refused.
   */
  readonly latestIncarnations: Map<string, Incarnation>;
}

/** @param startsAt stamp up to which whatever is there has no stamps; 0 if nothing is there */
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

/** A bucket's dealings with other regions, while it is open. */
export class ReplicationState {
  #feed: ChangeFeed;
  readonly #number: number;

  /** @param state changed in place; whoever keeps it writes it down with the counts */
  constructor(
    region: string,
    readonly state: PersistentReplicationState,
  ) {
    this.#number = toRegionNumber(region);
    this.#feed = new ChangeFeed(state.lastChangeStamp);
  }

  get feed(): ChangeFeed {
    return this.#feed;
  }

  /** A stamp for what is changed now. */
  now(wallMs: number): number {
    this.state.clock = nextStamp(this.state.clock, wallMs, this.#number);
    return this.state.clock;
  }

  /** Whether the stamp is of this region. */
  isLocal(stamp: number): boolean {
    return readRegionNumber(stamp) === this.#number;
  }

  /** Stamps given from now on are later than one that was seen. */
  receive(stamp: number): void {
    if (stamp > this.state.clock) this.state.clock = stamp;
  }

  /** The post's own entries were changed at this stamp. */
  recordCount(post: string, stamp: number): void {
    this.state.lastChangeStamp = stamp;
    this.#feed.recordCount(post, stamp);
  }

  /** An actor's toggle was. */
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

  /** Whether another region can be counted for: whoever makes up names would make each record larger without end. */
  hasRoomFor(region: string): boolean {
    const { latestIncarnations: heard } = this.state;
    return heard.has(region) || heard.size < REGIONS_MAX;
  }

  learnIncarnation(region: string, { epoch, nonce }: Incarnation): void {
    if (epoch <= this.latestIncarnation(region).epoch) return;
    this.state.latestIncarnations.set(region, { epoch, nonce });
    // It may have forgotten that it has told all, and has heard more since from lives that are over.
    this.state.syncedFrom = this.state.syncedFrom.filter((one) => one !== region);
    this.state.syncedAtStamp = 0;
  }

  /** It is about to be told all. @returns whether it is the newest that was heard of, and no other of its epoch is */
  observeIncarnation(region: string, life: Incarnation): boolean {
    this.learnIncarnation(region, life);
    return compareIncarnations(life, this.latestIncarnation(region)) === 'same';
  }

  /** Another life begins: it is to hear from all what the ones before may have told them. */
  startIncarnation(before: Incarnation): void {
    const { state } = this;
    state.predecessors = [...state.predecessors, { epoch: before.epoch, nonce: before.nonce }].slice(-PREDECESSORS_MAX);
    if (state.syncedAtStamp > 0) state.completeUpTo = state.clock;
    state.syncedFrom = [];
    state.syncedAtStamp = 0;
  }

  /** The store was started again, perhaps on a server that lacks what was done last: a life begins that goes on from none. */
  restart(before: Incarnation, wallMs: number): void {
    const { state } = this;
    this.startIncarnation(before);
    state.predecessors = [];
    state.recoveredUpTo = state.clock;
    state.clock = Math.max(state.clock, firstStampAt(wallMs));
    state.startedAtStamp = state.clock;
  }

  /**
   * The clock had run ahead, and goes back to `clock`, at or above which no peer knows anything: a life begins. What was counted up to
   * the clock before it is not lost. What is shipped is found by scans.
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
   * All peers have confirmed what this life has changed up to `ackedUpTo`, and need no mark of it. What every region has
   * confirmed of every other needs no register, either: whatever comes is later. Causal stability (Baquero, Almeida, Shoker:
   * "Making operation-based CRDTs operation-based", DAIS 2014).
   *
   * A life that lost something does not count as confirmed what the ones before did, until it was told by all what they had
   * heard, and has passed it on: some may not have.
   */
  advanceStability(ackedUpTo: number, peers: readonly string[]): void {
    const { state } = this;
    this.#feed.trim(ackedUpTo);
    state.lastChangeStamp = Math.max(state.lastChangeStamp, ackedUpTo);
    if (state.syncedAtStamp === 0 && peers.every((peer) => state.syncedFrom.includes(peer)))
      state.syncedAtStamp = state.clock;
    const whole = state.syncedAtStamp > 0 && ackedUpTo >= state.syncedAtStamp;
    state.ackedUpTo = Math.max(state.ackedUpTo, whole ? ackedUpTo : Math.min(ackedUpTo, state.completeUpTo));
    // What a peer knows to be confirmed may have been lost here since.
    const heard = peers.map((peer) =>
      Math.min(this.versionVectorEntry(peer).ackedUpTo, this.versionVectorEntry(peer).upTo),
    );
    state.stableStamp = Math.max(state.stableStamp, Math.min(state.ackedUpTo, ...heard));
  }
}
