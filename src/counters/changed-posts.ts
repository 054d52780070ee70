import { ChangeFeed, FEED_MAX, type FeedEntry, readMilestone } from './change-feed.js';
import type { Key64 } from './ids.js';
import { isFinal, type MilestoneKey, type ReachedMilestone } from './milestones.js';
import type { Incarnation } from './pn-counter.js';

/** At most this many posts and members stand under one seq, because a page of changes has all of a seq or none. */
export const ENTRIES_PER_SEQ = 500;
/** Posts and members that a bucket keeps at most if it records members, because one post may get thousands of likes a second. */
export const FEED_WITH_MEMBERS_MAX = 32_768;
/** A copy that stopped before more incarnations than these has to be adopted by hand. */
export const STARTS_MAX = 8;
/** The seq before the first one that is ever given, so that a copy at 0 gets a full sync. */
export const SEQ_BEFORE_FIRST = 1;
/** The seq of a copy in a full sync: it may have any change of its incarnation, and may lack any. */
export const NOT_SYNCED = 0;
/** Sums are kept modulo this, so that they and what is added to them are exact in doubles. */
export const SUM_MODULUS = 2 ** 52;

/** The part of the change record that an incarnation recovered when it started. A copy at or past `startSeq` may have more. */
export interface IncarnationStart extends Incarnation {
  readonly startSeq: number;
  /** No change before it was lost, ms since 1970: the time of the last change that was recovered, or of a read after it. */
  readonly startMs: number;
}

/** How far a copy of one bucket's counts is: it has every change up to `upTo`, as this incarnation numbers them. */
export interface CopyPosition extends Incarnation {
  /** NOT_SYNCED: a full sync has begun, and has not ended. */
  readonly upTo: number;
  /** No change that the copy has is later, ms since 1970. */
  readonly changedAtMs: number;
}

/** A milestone whose record may still be lost, so that no copy gets it yet. */
export interface ProvisionalMilestone extends MilestoneKey, Pick<ReachedMilestone, 'atMs' | 'recordedAtMs'> {}

/** The part of a bucket's change record that changes with its counts, in one transaction. */
export interface ChangedPostsState {
  /** The number under which changed posts are entered now. */
  seq: number;
  /** How many posts and members were entered under it. */
  entriesUnderSeq: number;
  /** Time of the last change, ms since 1970. */
  changedAtMs: number;
  /** By metric index: the changes of all totals since recording began, modulo SUM_MODULUS. */
  sums: number[];
  /** Oldest first; the last one is the current incarnation. */
  starts: readonly IncarnationStart[];
  /** Whether members are recorded besides posts. */
  recordsMembers: boolean;
  /** All records of the bucket that may still be lost: every other one is final. With the armed ones: ARMED_PER_BUCKET_MAX. */
  provisional: readonly ProvisionalMilestone[];
}

/** One actor in the set of those who have, or had, a toggle of a post on. */
export interface Member {
  readonly post: string;
  /** Index of the toggle. */
  readonly metric: number;
  readonly actor: Key64;
}

/** A record that goes on without what changed up to `droppedUpTo`. */
export interface ReopenedChangedPosts {
  readonly state: ChangedPostsState;
  readonly droppedUpTo: number;
}

/** Posts and members that changed after some seq. */
export interface CollectedChanges {
  /** Those of `members` among them, so that a copy never has members of a post that it does not have: it could not see that it was lost. */
  readonly posts: readonly string[];
  /** None unless they are recorded. */
  readonly members: readonly Member[];
  /** Those whose records are final. */
  readonly milestones: readonly MilestoneKey[];
  /** Every change up to it is in `posts` and `members`, or was before. */
  readonly upTo: number;
  /** Whether nothing has changed after `upTo`. */
  readonly isComplete: boolean;
}

/**
 * @param seq above those of a record that was stopped before, so that no copy takes an old position for a current one
 * @param provisional records from before, which may still be lost
 */
export function newChangedPostsState(
  seq: number,
  metricCount: number,
  provisional: readonly ProvisionalMilestone[] = [],
): ChangedPostsState {
  return {
    seq,
    entriesUnderSeq: 0,
    changedAtMs: 0,
    sums: new Array<number>(metricCount).fill(0),
    starts: [],
    recordsMembers: false,
    provisional,
  };
}

/**
 * Which posts of a bucket changed, for copies of its counts in other systems: each changed post once, under the seq of its last change.
 * A copy at `P` lacks the posts above `P`. The seq advances when somebody collects, so a post that changes all the time is entered
 * once between two collections. Members are entered like posts if somebody asked for them, and milestones once their records are final.
 * Memory is bounded by distinct posts, members and milestones: see `feedMax`.
 */
export class ChangedPosts {
  /**
   * @param state changed in place; its owner writes it with the counts
   * @param feed the changed posts, with seqs for stamps
   * @param entriesPerSeq below the feed's maximum, so that no post of the current seq is ever dropped
   * @param isRecordFinal whether no failover can lose the record of a milestone any more, by the clock of the store
   */
  constructor(
    readonly state: ChangedPostsState,
    private readonly feed: ChangeFeed,
    private readonly entriesPerSeq = ENTRIES_PER_SEQ,
    private readonly isRecordFinal: (record: ProvisionalMilestone, nowMs: number) => boolean = isFinal,
  ) {}

  /** A copy below this seq needs a full sync. */
  get droppedUpTo(): number {
    return this.feed.droppedUpTo;
  }

  /** Notes with which seq an incarnation goes on. To be called before anything is recorded in it. */
  startIncarnation(incarnation: Incarnation): void {
    this.state.starts = addStart(this.state, incarnation);
  }

  /** @param before its totals by metric index, before the change */
  record(post: string, before: readonly number[], after: readonly number[], updatedAtMs: number): void {
    const { state } = this;
    for (let i = 0; i < after.length; i++)
      state.sums[i] = moveSum(state.sums[i] ?? 0, (after[i] ?? 0) - (before[i] ?? 0));
    state.changedAtMs = Math.max(state.changedAtMs, updatedAtMs);
    if (this.feed.recordCount(post, state.seq)) this.#countEntry();
  }

  /** Records that a toggle was turned on or off. */
  recordMember(post: string, metric: number, actor: Key64): void {
    const { state } = this;
    if (state.recordsMembers && this.feed.recordToggle(post, metric, actor, state.seq)) this.#countEntry();
  }

  /**
   * Records that milestones were reached here, or elsewhere and are final. Those that are not final yet are entered when somebody collects
   * after they are.
   */
  recordMilestones(post: string, metric: number, reached: readonly ReachedMilestone[], nowMs: number): void {
    const isOver = (one: ReachedMilestone): boolean => one.isFinal === true;
    const provisional = reached
      .filter((one) => !isOver(one))
      .map(({ n, atMs, recordedAtMs }) => ({ post, metric, n, atMs, recordedAtMs }));
    this.#setProvisional([...this.state.provisional, ...provisional], nowMs);
    for (const { n } of reached.filter(isOver)) this.#recordFinal({ post, metric, n });
  }

  /**
   * The posts, members and milestones that changed after a seq, about `limit` of them, oldest change first. Later changes get a later seq
   * than `upTo`. A seq below `droppedUpTo` gets nothing: a copy that reads all posts from now on lacks what changes after `upTo`.
   * Milestones whose records have become final are entered for the next collection.
   * @param nowMs the clock of the store
   */
  collect(after: number, limit: number, nowMs: number): CollectedChanges {
    const collected = this.#collect(after, limit);
    if (this.state.provisional.length > 0) this.#setProvisional(this.state.provisional, nowMs);
    return collected;
  }

  #collect(after: number, limit: number): CollectedChanges {
    if (after < this.droppedUpTo) return { ...NO_CHANGES, upTo: this.droppedUpTo, isComplete: false };
    const { entries, upTo } = this.feed.entriesAfter(after, limit);
    const changes = groupEntries(entries);
    if (upTo !== null) return { ...changes, upTo, isComplete: false };
    if (this.state.entriesUnderSeq > 0) this.#advance();
    return { ...changes, upTo: this.state.seq - 1, isComplete: true };
  }

  /** Enters those of the milestones that are final. */
  #setProvisional(milestones: readonly ProvisionalMilestone[], nowMs: number): void {
    const { state } = this;
    state.provisional = milestones.filter((one) => !this.isRecordFinal(one, nowMs));
    for (const one of milestones) {
      if (this.isRecordFinal(one, nowMs)) this.#recordFinal(one);
    }
  }

  #recordFinal(milestone: MilestoneKey): void {
    if (this.feed.recordMilestone(milestone, this.state.seq)) this.#countEntry();
  }

  #countEntry(): void {
    this.state.entriesUnderSeq += 1;
    if (this.state.entriesUnderSeq >= this.entriesPerSeq) this.#advance();
  }

  #advance(): void {
    this.state.seq += 1;
    this.state.entriesUnderSeq = 0;
  }
}

const NO_CHANGES = { posts: [], members: [], milestones: [] };

/** A copy that gets a milestone later than its post has the post already. */
function groupEntries(entries: readonly FeedEntry[]): Pick<CollectedChanges, 'posts' | 'members' | 'milestones'> {
  const posts = new Set<string>();
  const members: Member[] = [];
  const milestones: MilestoneKey[] = [];
  for (const entry of entries) {
    const milestone = readMilestone(entry);
    if (milestone !== null) {
      milestones.push(milestone);
      continue;
    }
    const { post, metric, actor } = entry;
    posts.add(post);
    if (actor !== null) members.push({ post, metric, actor });
  }
  return { posts: [...posts], members, milestones };
}

/**
 * The record of a store that keeps only its numbers, after the store was opened again: the posts that were entered are not known any
 * more. The incarnation starts at the seq of before, because a copy may have more posts under it than the store has recovered.
 */
export function reopenChangedPosts(stored: ChangedPostsState, incarnation: Incarnation): ReopenedChangedPosts {
  const droppedUpTo = lastSeqInUse(stored);
  const starts = addStart(stored, incarnation);
  return { state: { ...stored, starts, seq: droppedUpTo + 1, entriesUnderSeq: 0 }, droppedUpTo };
}

/** @returns the starts themselves if the incarnation is the current one already */
function addStart(
  { starts, seq, changedAtMs }: ChangedPostsState,
  incarnation: Incarnation,
): readonly IncarnationStart[] {
  const { epoch, nonce } = incarnation;
  const last = starts.at(-1);
  if (last?.epoch === epoch && last.nonce === nonce) return starts;
  return [...starts, { epoch, nonce, startSeq: seq, startMs: changedAtMs }].slice(-STARTS_MAX);
}

/**
 * A record that goes on with members, too. What stands in it is dropped, because nobody knows which members changed until now. The
 * incarnation starts at the seq of before, as in a record that is opened again.
 */
export function startMembers(state: ChangedPostsState, incarnation: Incarnation): ReopenedChangedPosts {
  return reopenChangedPosts({ ...state, recordsMembers: true }, incarnation);
}

/** How many posts and members a record keeps at most. */
export function feedMax({ recordsMembers }: ChangedPostsState): number {
  return recordsMembers ? FEED_WITH_MEMBERS_MAX : FEED_MAX;
}

function lastSeqInUse({ seq, entriesUnderSeq }: ChangedPostsState): number {
  return entriesUnderSeq > 0 ? seq : seq - 1;
}

/** The sum after a change of one total. */
export function moveSum(sum: number, change: number): number {
  return (((sum + (change % SUM_MODULUS)) % SUM_MODULUS) + SUM_MODULUS) % SUM_MODULUS;
}
