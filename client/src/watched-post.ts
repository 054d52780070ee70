import type { Timer } from './environment.js';
import type { LiveCountsError } from './errors.js';
import type { Change, PostCounts } from './post-counts.js';

export interface Subscriber {
  readonly changed: (change: Change) => void;
  readonly refused: ((error: LiveCountsError) => void) | undefined;
  /** Whether it makes this client a viewer of the post. */
  readonly present: boolean;
}

export interface WatchedPost {
  readonly counts: PostCounts;
  readonly subscribers: Set<Subscriber>;
  /** The presence that was requested on this connection; undefined while the post is not subscribed. */
  requested: boolean | undefined;
  /** Whether the gateway has answered a subscription on this connection. */
  isAnswered: boolean;
  linger: Timer | undefined;
  /** Why the gateway rejected it on this connection. */
  refusal: LiveCountsError | undefined;
}

/** As on a connection that has no subscription of the post. */
export function forget(watched: WatchedPost): void {
  watched.requested = undefined;
  watched.isAnswered = false;
  watched.refusal = undefined;
}

/** A page that nobody sees makes nobody present. */
export function wantsPresence({ subscribers }: WatchedPost, isShown: boolean): boolean {
  return isShown && [...subscribers].some(({ present }) => present);
}

/** Whether the post is to be subscribed, or to be subscribed with another presence. */
export function isDue(watched: WatchedPost, isShown: boolean): boolean {
  const { subscribers, requested, refusal } = watched;
  return subscribers.size > 0 && !refusal && requested !== wantsPresence(watched, isShown);
}
