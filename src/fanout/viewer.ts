import type { Frame } from './frame.js';
import type { Snapshot } from './snapshot.js';
import type { WatchedPost } from './watched-post.js';

/** Where a viewer's frames go: a socket, an event stream. */
export interface FrameSink {
  /** Must not throw. */
  write(frame: Frame): void;
  /** Whether earlier frames still wait to be sent: then the newest state is sent later instead of queueing up. */
  readonly hasUnsent: boolean;
  /** The viewer stayed behind for too long; the connection is to be closed. */
  disconnectSlow(): void;
}

/** One viewer's interest in one post. */
export interface Subscription {
  readonly viewer: Viewer;
  readonly watched: WatchedPost<Subscription>;
  /** The state that the viewer was given last; `null` before its first snapshot. */
  baseline: Snapshot | null;
  /** Its place in `watched.clean`; -1 while it is not there. */
  cleanIndex: number;
  /** Ended; whoever still holds it skips it. */
  closed: boolean;
}

/**
 *     idle ──changed──→ ready ──written──→ cooling ──a tick later──→ ready, if something changed meanwhile; else idle
 *
 * So the first change after a pause goes out at once, and the last one before a pause within a tick.
 */
export type FrameState = 'idle' | 'ready' | 'cooling';

/** A connection that watches posts. */
export class Viewer {
  readonly subscriptions = new Map<string, Subscription>();
  /** The subscriptions whose post changed since the last frame, each once. */
  readonly dirty: Subscription[] = [];
  frameState: FrameState = 'idle';
  closed = false;
  /** Since when the sink is behind, on the monotonic clock; `null` when it is not. */
  unsentSinceMs: number | null = null;

  constructor(
    /** The actor's name, `null` when it gave none. */
    readonly actor: string | null,
    readonly sink: FrameSink,
  ) {}
}
