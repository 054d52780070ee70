import type { PostCounts } from '../counters/batch.js';
import type { MembersDrift } from '../counters/check-members.js';
import type { PostMilestone } from '../counters/milestones.js';
import type { CopyPosition, IncarnationStart, Member } from '../counters/changed-posts.js';
import type { CounterStore } from './counter-store.js';

/** A store whose counts can be copied to other systems. */
export interface CopyableStore extends CounterStore {
  readonly changeStore: ChangeStore;
}

/** Changes of one bucket after some seq. All of a page is of one instant. */
export interface ChangePage {
  readonly bucket: number;
  /** The last incarnations of the bucket, oldest first: the last one is current. */
  readonly starts: readonly IncarnationStart[];
  /** A copy below this seq needs a full sync, because changes were dropped. `posts` is empty then. */
  readonly droppedUpTo: number;
  /** Every change up to this seq is in `posts`, or was before the seq of the request. */
  readonly upTo: number;
  /** Whether nothing changed after `upTo`: posts, `sums` and `changedAtMs` are the state of the bucket at one instant. */
  readonly isComplete: boolean;
  /** Time of the bucket's last change, ms since 1970; 0: none was recorded. */
  readonly changedAtMs: number;
  /** By metric index: the changes of all totals of the bucket since recording began, modulo SUM_MODULUS. */
  readonly sums: readonly number[];
  /** In their newest state. */
  readonly posts: readonly PostCounts[];
  /** Whose toggles were turned on or off, in their newest state; none unless members are recorded. */
  readonly members: readonly MemberState[];
  /** Milestones that were reached, since their records are final. */
  readonly milestones: readonly PostMilestone[];
}

/** Whether an actor has a toggle on. */
export interface MemberState extends Member {
  readonly on: boolean;
}

/** A copy of one bucket that asks for what it lacks. */
export interface CopyRequest {
  readonly bucket: number;
  /** A seq. */
  readonly after: number;
}

export interface CollectOptions {
  /** Posts, members and milestones of a bucket, about. */
  readonly limit: number;
  /** Whether members are to be recorded, too: a bucket that did not has forgotten what changed until now. */
  readonly withMembers: boolean;
}

/** Some of the members of posts. */
export interface MembersPage {
  readonly members: readonly Member[];
  /** Cursor of the next page; `null`: this was the last. */
  readonly next: string | null;
}

/** Some of the posts of the store. */
export interface CountsPage {
  readonly posts: readonly PostCounts[];
  /** Those of these posts whose records are final: RECORDS_MAX of a metric at most. The others follow as changes when they are. */
  readonly milestones: readonly PostMilestone[];
  /** Cursor of the next page; `null`: this was the last. */
  readonly next: string | null;
}

/**
 * The port of a store for copies of its counts in other systems. Which posts changed is recorded only after `changesSince` was called
 * for their bucket, and until `stopRecording`: without copies it costs nothing. All that is returned is durable.
 */
export interface ChangeStore {
  /**
   * Whether this gateway may do something that one gateway of the deployment does at a time. To be called each second; who does not
   * call loses the lease after two. Two may believe to have it for a moment.
   */
  acquireLease(duty: string): Promise<boolean>;

  /**
   * By request: the posts and members that changed after a seq, and milestones, oldest change first. Starts recording where nothing was
   * recorded. Merges of other regions are changes, too.
   */
  changesSince(requests: readonly CopyRequest[], options: CollectOptions): Promise<readonly ChangePage[]>;

  /** Stops recording, and forgets what was recorded. */
  stopRecording(): Promise<void>;

  /** Whether any bucket records changes. */
  isRecording(): Promise<boolean>;

  /**
   * Posts of these buckets in some order, from `cursor` on (`''`: from the first), about `limit`, with their milestones. A post that exists
   * from before the first page to after the last is returned at least once.
   */
  readAll(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<CountsPage>;

  /**
   * Members of all toggles of these posts, from `cursor` on (`''`: from the first), about `limit`. A member that is one from before
   * the first page to after the last is returned at least once.
   */
  readMembers(posts: readonly string[], cursor: string, limit: number): Promise<MembersPage>;

  /**
   * Counts the members of these posts.
   * @param repairs whether a post that counts others is made to count them, as an ordinary change
   * @returns where the numbers differed
   */
  checkMembers(posts: readonly string[], repairs: boolean): Promise<readonly MembersDrift[]>;

  /** Takes over records of a copy. Those that the store has already stay. */
  restoreMilestones(records: readonly PostMilestone[]): Promise<void>;

  /** By bucket: the positions of a copy that cannot keep its own. */
  readPositions(copy: string): Promise<ReadonlyMap<number, CopyPosition>>;

  /** Saves positions; those of other buckets stay. */
  savePositions(copy: string, positions: ReadonlyMap<number, CopyPosition>): Promise<void>;
}
