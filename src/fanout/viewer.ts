import type { Frame } from './frame.js';
import type { PostSnapshot } from './post-snapshot.js';
import type { WatchedPost } from './watched-post.js';

/** A MilestoneEvent as text: ASCII. */
export interface EncodedMilestone {
  readonly body: string;
}

/** Writes a viewer's frames: to a socket, or to an event stream. */
export interface FrameSink {
  /** Must not throw. */
  write(frame: Frame): void;
  /** Sends the event before or after a frame. It may be dropped, because the milestone can be read. Must not throw. */
  sendMilestone(event: EncodedMilestone): void;
  /** Whether an earlier frame still waits to be sent. Then the newest state is sent later, so that frames do not queue up. */
  readonly hasUnsent: boolean;
  /** The sink has had unsent frames for too long: closes the connection. */
  disconnectSlow(): void;
}

/** One viewer's interest in one post. */
export interface Subscription {
  readonly viewer: Viewer;
  readonly watched: WatchedPost<Subscription>;
  /** Whether the viewer counts in `live` of the post. */
  isPresent: boolean;
  /** The state that the viewer got last; `null` before its first snapshot. */
  baseline: PostSnapshot | null;
  /** Its index among the clean subscriptions of `watched`; -1 while it is not there. */
  cleanIndex: number;
  /** Set when unsubscribed. Holders must ignore it. */
  isClosed: boolean;
}

/**
 *     idle ──changed──→ ready ──written──→ cooling ──a tick later──→ ready, if something changed meanwhile; else idle
 *
 * So the first change after a pause is sent at once, and the last one before a pause within a tick.
 */
export type FrameState = 'idle' | 'ready' | 'cooling';

/** A connection that watches posts. */
export class Viewer {
  readonly subscriptions = new Map<string, Subscription>();
  /** Subscriptions whose post changed since the last frame, each once. */
  readonly dirty: Subscription[] = [];
  frameState: FrameState = 'idle';
  isClosed = false;
  /** Monotonic time since which the sink has unsent frames; `null`: it has none. */
  unsentSinceMs: number | null = null;

  constructor(
    /** The actor's key as a text; `null`: a viewer without an actor. */
    readonly person: string | null,
    readonly sink: FrameSink,
  ) {}
}
