import { ChangeFeed } from './change-feed.js';
import type { Key64 } from '../ids.js';
import { type Life, orderOf, REGIONS_MAX } from '../pn-counter.js';
import { type Known, UNKNOWN } from './delta.js';
import { nextStamp, regionNumber, regionNumberOf, stampOf } from './hybrid-clock.js';

const UNHEARD: Life = { epoch: 0, nonce: 0 };
/** More lives of one epoch, at once, are not to be expected; a peer that knows an older one has some stamps given again. */
const GOES_ON_MAX = 4;

/** What of a bucket's dealings with other regions has to last as long as its counts. */
export interface RegionalState {
  /** The last stamp that was given or seen. */
  clock: number;
  /** The stamp of what was changed here last, or what all have confirmed since: to a peer that has it nothing is to be told. */
  changedAt: number;
  /** The clock when the present life began: all its stamps are above. */
  born: number;
  /** Lives that the present one goes on from, with all they did: they only gave way to one that had taken their epoch. */
  goesOn: readonly Life[];
  /** The clock that the present life found: what was counted later by the lives before is lost here. */
  found: number;
  /** Up to here nothing is missing of what this region has told anybody. */
  sure: number;
  /** What was lost is being filled from peers: what they know of the lives before counts again. */
  filling: boolean;
  /** The regions that have told the present life all they know, and the clock when the last of them had; 0: not all have. */
  toldBy: readonly string[];
  toldAt: number;
  /** All peers are known to have what was changed here up to this stamp, whichever life did it. */
  confirmed: number;
  /** All regions have what was changed in any up to this stamp: registers are not needed for it. */
  floor: number;
  /** What is here of each other region. */
  readonly known: Map<string, Known>;
  /**
   * The newest life that was heard of, of each other region, by itself or from others. What one before it has sent, and comes
   * late, would be something that the region is never told of; and another of the same epoch is not it: both are refused.
   */
  readonly heard: Map<string, Life>;
}

/** @param startsAt stamp up to which whatever is there has no stamps; 0 if nothing is there */
export function newState(startsAt: number): RegionalState {
  return {
    clock: startsAt,
    changedAt: startsAt,
    born: startsAt,
    goesOn: [],
    found: startsAt,
    sure: startsAt,
    filling: false,
    toldBy: [],
    toldAt: 0,
    confirmed: startsAt,
    floor: startsAt,
    known: new Map(),
    heard: new Map(),
  };
}

/** A bucket's dealings with other regions, while it is open. */
export class ReplicationState {
  #feed: ChangeFeed;
  readonly #number: number;

  /** @param state changed in place; whoever keeps it writes it down with the counts */
  constructor(
    region: string,
    readonly state: RegionalState,
  ) {
    this.#number = regionNumber(region);
    this.#feed = new ChangeFeed(state.changedAt);
  }

  get feed(): ChangeFeed {
    return this.#feed;
  }

  /** A stamp for what is changed now. */
  stamp(wallMs: number): number {
    this.state.clock = nextStamp(this.state.clock, wallMs, this.#number);
    return this.state.clock;
  }

  /** Whether the stamp is of this region. */
  gave(stamp: number): boolean {
    return regionNumberOf(stamp) === this.#number;
  }

  /** Stamps given from now on are later than one that was seen. */
  saw(stamp: number): void {
    if (stamp > this.state.clock) this.state.clock = stamp;
  }

  /** The post's own entries were changed at this stamp. */
  counted(post: string, stamp: number): void {
    this.state.changedAt = stamp;
    this.#feed.counted(post, stamp);
  }

  /** An actor's toggle was. */
  toggled(post: string, metric: number, actor: Key64, stamp: number): void {
    this.state.changedAt = stamp;
    this.#feed.toggled(post, metric, actor, stamp);
  }

  known(region: string): Known {
    return this.state.known.get(region) ?? UNKNOWN;
  }

  heard(region: string): Life {
    return this.state.heard.get(region) ?? UNHEARD;
  }

  /** Whether another region can be counted for: whoever makes up names would make each record larger without end. */
  hasRoomFor(region: string): boolean {
    const { heard } = this.state;
    return heard.has(region) || heard.size < REGIONS_MAX;
  }

  hear(region: string, { epoch, nonce }: Life): void {
    if (epoch <= this.heard(region).epoch) return;
    this.state.heard.set(region, { epoch, nonce });
    // It may have forgotten that it has told all, and has heard more since from lives that are over.
    this.state.toldBy = this.state.toldBy.filter((one) => one !== region);
    this.state.toldAt = 0;
  }

  /** It is about to be told all. @returns whether it is the newest that was heard of, and no other of its epoch is */
  tells(region: string, life: Life): boolean {
    this.hear(region, life);
    return orderOf(life, this.heard(region)) === 'same';
  }

  /** Another life begins: it is to hear from all what the ones before may have told them. */
  begin(before: Life): void {
    const { state } = this;
    state.goesOn = [...state.goesOn, { epoch: before.epoch, nonce: before.nonce }].slice(-GOES_ON_MAX);
    if (state.toldAt > 0) state.sure = state.clock;
    state.toldBy = [];
    state.toldAt = 0;
  }

  /** The store was started again, perhaps on a server that lacks what was done last: a life begins that goes on from none. */
  restart(before: Life, wallMs: number): void {
    const { state } = this;
    this.begin(before);
    state.goesOn = [];
    state.found = state.clock;
    state.clock = Math.max(state.clock, stampOf(wallMs));
    state.born = state.clock;
  }

  /**
   * The clock had run ahead, and goes back to `clock`, at or above which no peer knows anything: a life begins. What was counted up to
   * the clock before it is not lost. What is shipped is found by scans.
   */
  comeBack(clock: number): void {
    const { state } = this;
    state.found = Math.max(state.found, state.clock);
    state.clock = clock;
    state.changedAt = clock;
    state.born = clock;
    state.sure = Math.min(state.sure, clock);
    state.confirmed = Math.min(state.confirmed, clock);
    state.floor = Math.min(state.floor, clock);
    this.#feed = new ChangeFeed(clock);
  }

  told(region: string): void {
    const { state } = this;
    if (!state.toldBy.includes(region)) state.toldBy = [...state.toldBy, region];
  }

  /**
   * All peers have confirmed what this life has changed up to `confirmed`, and need no mark of it. What every region has
   * confirmed of every other needs no register, either: whatever comes is later. Causal stability (Baquero, Almeida, Shoker:
   * "Making operation-based CRDTs operation-based", DAIS 2014).
   *
   * A life that lost something does not count as confirmed what the ones before did, until it was told by all what they had
   * heard, and has passed it on: some may not have.
   */
  settle(confirmed: number, peers: readonly string[]): void {
    const { state } = this;
    this.#feed.trim(confirmed);
    state.changedAt = Math.max(state.changedAt, confirmed);
    if (state.toldAt === 0 && peers.every((peer) => state.toldBy.includes(peer))) state.toldAt = state.clock;
    const whole = state.toldAt > 0 && confirmed >= state.toldAt;
    state.confirmed = Math.max(state.confirmed, whole ? confirmed : Math.min(confirmed, state.sure));
    // What a peer knows to be confirmed may have been lost here since.
    const heard = peers.map((peer) => Math.min(this.known(peer).confirmed, this.known(peer).upTo));
    state.floor = Math.max(state.floor, Math.min(state.confirmed, ...heard));
  }
}
