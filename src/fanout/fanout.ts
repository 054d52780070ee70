import type { Clock } from '../clock.js';
import type { PostCounts } from '../counters/batch.js';
import type { Key64 } from '../counters/ids.js';
import type { Metrics } from '../counters/metrics.js';
import type { Presence } from '../presence/presence.js';
import type { CounterStore } from '../store/counter-store.js';
import { Cooling } from './cooling.js';
import { Snapshot } from './snapshot.js';
import { type FrameSink, type Subscription, Viewer } from './viewer.js';
import { WatchedPost } from './watched-post.js';

/** Viewers written to before other events get their turn: about 3 ms of work. */
const PASS_VIEWERS = 256;
/** How long a viewer may stay behind before it is cut. */
const BEHIND_MAX_MS = 30_000;

export interface FanoutStats {
  /** Since boot: frames written, characters in them, frames put off because the viewer was behind, viewers cut. */
  frames: number;
  frameCharacters: number;
  postponed: number;
  cut: number;
}

/** What a subscriber is shown first. */
export interface FirstView {
  readonly snapshot: Snapshot;
  /** A bit for each metric index whose toggle is on for the actor. */
  readonly on: number;
}

/**
 * Brings each change of a post to everyone who watches it: at most one frame a viewer a tick, with the newest state of
 * all its posts that changed. Cost: a step a viewer a frame, and nothing for a change that comes before the viewers'
 * next frame. What a viewer has not been sent is never queued: only which of its posts are dirty.
 *
 *     changes   c1 c2   c3                    c4
 *     viewer    ├f(c1)──────┤f(c3)──────┤     ├f(c4)──────┤       f: a frame; ├──┤: a tick
 */
export class Fanout {
  readonly #posts = new Map<string, WatchedPost>();
  readonly #cooling: Cooling;
  #ready: Viewer[] = [];
  #passing = false;
  readonly stats: FanoutStats = { frames: 0, frameCharacters: 0, postponed: 0, cut: 0 };

  constructor(
    private readonly store: CounterStore,
    private readonly presence: Presence,
    private readonly clock: Clock,
    private readonly metrics: Metrics,
    readonly tickMs: number,
  ) {
    this.#cooling = new Cooling(clock, tickMs, (viewers) => this.#cooled(viewers));
    store.changes.subscribe((changed) => this.#changed(changed));
    presence.changes.subscribe((posts) => this.#viewersChanged(posts));
  }

  get watchedPosts(): number {
    return this.#posts.size;
  }

  open(actor: string | null, sink: FrameSink): Viewer {
    return new Viewer(actor, sink);
  }

  /**
   * Starts watching; frames follow the snapshots that this resolves with. Those of posts that the viewer left
   * meanwhile are missing. Watching a post again gives its snapshot again.
   */
  async subscribe(viewer: Viewer, posts: readonly string[], actor: Key64 | null): Promise<FirstView[]> {
    const subscriptions = posts.map((post) => this.#watch(viewer, post));
    const views = await this.store.read(posts, actor);
    const first: FirstView[] = [];
    subscriptions.forEach((subscription, i) => {
      if (subscription.closed) return;
      const { counts, on } = views[i]!;
      const snapshot = this.#offer(subscription.watched, counts);
      subscription.base = snapshot;
      if (!subscription.dirty) subscription.watched.clean.add(subscription);
      first.push({ snapshot, on });
    });
    this.#pass();
    return first;
  }

  unsubscribe(viewer: Viewer, posts: Iterable<string>): void {
    for (const post of posts) {
      const subscription = viewer.subscriptions.get(post);
      if (subscription !== undefined) this.#end(subscription);
    }
  }

  close(viewer: Viewer): void {
    viewer.closed = true;
    this.unsubscribe(viewer, [...viewer.subscriptions.keys()]);
    viewer.dirty.length = 0;
  }

  /** Sends what waits for a tick now: the last counts before a drain. */
  flush(viewers: Iterable<Viewer>): void {
    for (const viewer of viewers) if (viewer.dirty.length > 0 && !viewer.closed) this.#write(viewer);
  }

  #watch(viewer: Viewer, post: string): Subscription {
    const known = viewer.subscriptions.get(post);
    if (known !== undefined) return known;
    let watched = this.#posts.get(post);
    if (watched === undefined) {
      watched = new WatchedPost(post);
      this.#posts.set(post, watched);
      this.store.watch(post);
    }
    watched.subscriptions += 1;
    const subscription: Subscription = { viewer, watched, base: null, dirty: false, closed: false };
    viewer.subscriptions.set(post, subscription);
    this.presence.enter(post, viewer.actor);
    return subscription;
  }

  #end(subscription: Subscription): void {
    const { viewer, watched } = subscription;
    subscription.closed = true;
    viewer.subscriptions.delete(watched.id);
    watched.clean.delete(subscription);
    watched.subscriptions -= 1;
    this.presence.leave(watched.id, viewer.actor);
    if (watched.subscriptions > 0) return;
    this.#posts.delete(watched.id);
    this.store.unwatch(watched.id);
  }

  #changed(changed: readonly PostCounts[]): void {
    for (const counts of changed) {
      const watched = this.#posts.get(counts.post);
      if (watched !== undefined) this.#offer(watched, counts);
    }
    this.#pass();
  }

  #viewersChanged(posts: readonly string[]): void {
    for (const post of posts) {
      const watched = this.#posts.get(post);
      const live = this.presence.connections(post);
      if (watched?.latest && watched.latest.live !== live) this.#replace(watched, watched.latest.counts, live);
    }
    this.#pass();
  }

  /** Takes the counts if they are news. @returns the newest state. */
  #offer(watched: WatchedPost, counts: PostCounts): Snapshot {
    const known = watched.latest?.counts;
    if (watched.latest !== null && known?.e === counts.e && known.v >= counts.v) return watched.latest;
    return this.#replace(watched, counts, this.presence.connections(watched.id));
  }

  #replace(watched: WatchedPost, counts: PostCounts, live: number): Snapshot {
    const snapshot = new Snapshot(counts, live, this.metrics);
    watched.replace(snapshot, ({ viewer }) => {
      if (viewer.pace !== 'idle') return;
      viewer.pace = 'ready';
      this.#ready.push(viewer);
    });
    return snapshot;
  }

  #cooled(viewers: readonly Viewer[]): void {
    for (const viewer of viewers) {
      viewer.pace = viewer.dirty.length > 0 ? 'ready' : 'idle';
      if (viewer.pace === 'ready') this.#ready.push(viewer);
    }
    this.#pass();
  }

  /** Writes to all that are ready, a slice at a time so that other events are not kept waiting. */
  #pass(): void {
    if (this.#passing) return;
    for (const viewer of this.#ready.splice(0, PASS_VIEWERS)) this.#write(viewer);
    if (this.#ready.length === 0) return;
    this.#passing = true;
    this.clock.soon(() => {
      this.#passing = false;
      this.#pass();
    });
  }

  #write(viewer: Viewer): void {
    if (viewer.closed) return;
    const now = this.clock.nowMs();
    viewer.pace = 'cooling';
    this.#cooling.add(viewer, now);
    if (viewer.sink.behind) return this.#postpone(viewer, now);
    viewer.behindSinceMs = null;
    const body = this.#frame(viewer);
    if (body === null) return;
    this.stats.frames += 1;
    this.stats.frameCharacters += body.length;
    viewer.sink.write(body);
  }

  #frame(viewer: Viewer): string | null {
    let updates = '';
    for (const subscription of viewer.dirty) {
      subscription.dirty = false;
      const { watched, base, closed } = subscription;
      const { latest } = watched;
      if (closed || latest === null) continue;
      watched.clean.add(subscription);
      if (base === null || base === latest) continue;
      subscription.base = latest;
      updates += `${updates === '' ? '' : ','}${latest.since(base)}`;
    }
    viewer.dirty.length = 0;
    return updates === '' ? null : `[${updates}]`;
  }

  #postpone(viewer: Viewer, now: number): void {
    this.stats.postponed += 1;
    viewer.behindSinceMs ??= now;
    if (now - viewer.behindSinceMs < BEHIND_MAX_MS) return;
    this.stats.cut += 1;
    viewer.sink.cut();
  }
}
