import type { LiveCountsError } from './errors.js';
import type { LiveCountsEvents } from './options.js';
import type { Milestone, MilestoneList } from './milestones.js';
import type { Change } from './post-counts.js';

export interface Post {
  readonly id: string;
  /**
   * Calls `changed` with the first counts, at once if the client has them, and at every change. Calls `refused` if the
   * gateway rejects the subscription. With `present: false` it makes this client no viewer of the post.
   * @returns a function that ends the subscription
   */
  subscribe(
    changed: (change: Change) => void,
    refused?: (error: LiveCountsError) => void,
    options?: { readonly present?: boolean | undefined },
  ): () => void;
  /**
   * Operations show at once. The promise resolves when the gateway has counted the operation, however many reconnects
   * that takes. It rejects with a LiveCountsError when the operation was not counted; then it is no longer shown.
   */
  like(): Promise<void>;
  unlike(): Promise<void>;
  view(): Promise<void>;
  /** Adds to a tally, 1 to 1000. Over HTTP this takes `by` requests. */
  add(metric: string, by?: number): Promise<void>;
  /** Turns a toggle on or off; `like` and `unlike` do so for `likes`. */
  set(metric: string, on: boolean): Promise<void>;
  /**
   * Turns an option of a choice on, and the other one of its group off; with `false` it takes the choice back. Rejects with
   * BAD_REQUEST if there is no such option.
   */
  choose(option: string, on?: boolean): Promise<void>;
  /**
   * Calls back for the event `milestone` of the client, for this post alone. It does not subscribe to the post.
   * @returns a function that removes the listener
   */
  onMilestone(listener: (milestone: Milestone) => void): () => void;
  /**
   * Reads the milestones of a metric from the gateway: one request. Rejects with the gateway's LiveCountsError, or with another
   * error if the gateway does not answer within 10 s.
   */
  milestones(metric: string): Promise<MilestoneList>;
}

export interface LiveCounts {
  /** The address of the gateway, without a slash at its end. */
  readonly gateway: string;
  readonly state: 'syncing' | 'synced';
  /** Number of posts that have a subscriber. */
  readonly watched: number;
  /** Number of operations that are shown but not acknowledged yet. */
  readonly waiting: number;
  /**
   * The options of a group of choices, in the order of the gateway's settings. Empty until the first counts arrive, and if
   * the gateway has no such group.
   */
  options(group: string): readonly string[];
  /** @throws LiveCountsError BAD_REQUEST unless the id has 1 to 64 characters of `A-Z a-z 0-9 _ . : -` */
  post(id: string): Post;
  /** @returns a function that removes the listener */
  on<Name extends keyof LiveCountsEvents>(name: Name, listener: LiveCountsEvents[Name]): () => void;
  /** Ends the connection, and rejects unacknowledged operations with `CLOSED`. */
  close(): void;
}
