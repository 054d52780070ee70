import type { Clock } from '../clock.js';
import type { PostCounts } from '../counters/batch.js';
import type { Key64 } from '../counters/ids.js';
import type { Metrics } from '../counters/metrics.js';
import type { Presence } from '../presence/presence.js';
import type { CounterStore, PostView } from '../store/counter-store.js';
import { Cooling } from './cooling.js';
import { ReadyQueue } from './ready-queue.js';
import { Snapshot } from './snapshot.js';
import { type FrameSink, type Subscription, Viewer } from './viewer.js';
import { WatchedPost } from './watched-post.js';

/** Updates written before other events get their turn, about 0.1 ms: Node takes in one new connection a turn. */
const PASS_WORK = 128;
/** Writing a frame costs as much as this many updates in it. */
const WRITE_WORK = 16;
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
  readonly #ready = new ReadyQueue();
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
   * meanwhile are missing, and of one that is gone all are. Watching a post again gives its snapshot again.
   * When the store cannot be read, it rejects and only what was watched before still is.
   */
  async subscribe(viewer: Viewer, posts: readonly string[], actor: Key64 | null): Promise<FirstView[]> {
    if (viewer.closed) return [];
    const subscriptions = posts.map((post) => this.#watch(viewer, post));
    const epochs = subscriptions.map(({ watched }) => watched.latest?.counts.e);
    let views: PostView[];
    try {
      views = await this.store.read(posts, actor);
    } catch (error) {
      for (const subscription of subscriptions) if (subscription.base === null) this.#end(subscription);
      throw error;
    }
    const first: FirstView[] = [];
    subscriptions.forEach((subscription, i) => {
      if (subscription.closed) return;
      const { counts, on } = views[i]!;
      first.push({ snapshot: this.#begin(subscription, counts, epochs[i]), on });
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
    this.unsubscribe(viewer, viewer.subscriptions.keys());
  }

  /**
   * Gives the newest state of posts that the viewer watches with its next frame, changed or not: what it has of them is
   * not all it should know. A version it knows says nothing of `live`.
   */
  repeat(viewer: Viewer, posts: Iterable<string>): void {
    for (const post of posts) {
      const subscription = viewer.subscriptions.get(post);
      if (subscription !== undefined && subscription.watched.clean.delete(subscription)) {
        viewer.dirty.add(subscription);
        this.#touched(viewer);
      }
    }
    this.#pass();
  }

  /**
   * Sends what waits for a tick now: the last counts before a drain. To those who are behind as well: one frame more is
   * all that will wait for them.
   */
  flush(viewers: Iterable<Viewer>): void {
    for (const viewer of viewers) if (viewer.dirty.size > 0) this.#send(viewer);
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
    const subscription: Subscription = { viewer, watched, base: null, closed: false };
    viewer.subscriptions.set(post, subscription);
    this.presence.enter(post, viewer.actor);
    return subscription;
  }

  /** @returns what the viewer is shown first, given what was read and the epoch that was known before. */
  #begin(subscription: Subscription, counts: PostCounts, epochBefore: string | undefined): Snapshot {
    const { viewer, watched } = subscription;
    const { latest } = watched;
    // Versions of two epochs cannot be compared. If one was announced during the read, the read may be older than it;
    // and if it is newer, it will be announced as well.
    const overtaken = latest !== null && latest.counts.e !== counts.e && latest.counts.e !== epochBefore;
    const snapshot = overtaken ? latest : this.#offer(watched, counts);
    subscription.base = snapshot;
    viewer.dirty.delete(subscription);
    watched.clean.add(subscription);
    return snapshot;
  }

  #end(subscription: Subscription): void {
    if (subscription.closed) return;
    const { viewer, watched } = subscription;
    subscription.closed = true;
    viewer.subscriptions.delete(watched.id);
    viewer.dirty.delete(subscription);
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
    this.store.share(new Map(posts.map((post) => [post, this.presence.connections(post)])));
    for (const post of posts) {
      const watched = this.#posts.get(post);
      if (watched !== undefined) this.#showLive(watched);
    }
    this.#pass();
  }

  /** Takes the counts if they are news; `live` is no part of their version. @returns the newest state. */
  #offer(watched: WatchedPost, counts: PostCounts): Snapshot {
    const told = watched.told;
    watched.told = counts.live;
    const known = watched.latest?.counts;
    if (known?.e !== counts.e || known.v < counts.v) return this.#replace(watched, counts, this.presence.live(counts));
    if (told !== counts.live) this.#showLive(watched);
    return watched.latest!;
  }

  #showLive(watched: WatchedPost): void {
    const { id, told, latest } = watched;
    const live = this.presence.live({ post: id, live: told });
    if (latest !== null && latest.live !== live) this.#replace(watched, latest.counts, live);
  }

  #replace(watched: WatchedPost, counts: PostCounts, live: number): Snapshot {
    const snapshot = new Snapshot(counts, live, this.metrics);
    watched.replace(snapshot, this.#touched);
    return snapshot;
  }

  readonly #touched = (viewer: Viewer): void => {
    if (viewer.pace !== 'idle') return;
    viewer.pace = 'ready';
    this.#ready.push(viewer);
  };

  #cooled(viewers: readonly Viewer[]): void {
    for (const viewer of viewers) {
      if (viewer.dirty.size > 0) {
        viewer.pace = 'ready';
        this.#ready.push(viewer);
      } else rest(viewer);
    }
    this.#pass();
  }

  /** Writes to all that are ready, a slice at a time so that other events are not kept waiting. */
  #pass(): void {
    if (this.#passing || this.#ready.length === 0) return;
    const startMs = this.clock.nowMs();
    const cooling: Viewer[] = [];
    for (let work = 0; work < PASS_WORK;) {
      const viewer = this.#ready.shift();
      if (viewer === undefined) break;
      work += WRITE_WORK + viewer.dirty.size;
      if (this.#write(viewer, startMs)) {
        viewer.pace = 'cooling';
        cooling.push(viewer);
      } else rest(viewer);
    }
    if (cooling.length > 0) this.#cooling.add(cooling, this.clock.nowMs());
    if (this.#ready.length === 0) return;
    this.#passing = true;
    this.clock.soon(() => {
      this.#passing = false;
      this.#pass();
    });
  }

  /** @returns whether its next frame has to wait for a tick: not if there was nothing to send. */
  #write(viewer: Viewer, nowMs: number): boolean {
    if (viewer.dirty.size === 0) return false;
    if (viewer.sink.behind) return this.#postpone(viewer, nowMs);
    viewer.behindSinceMs = null;
    this.#send(viewer);
    return true;
  }

  #send(viewer: Viewer): void {
    const body = frameOf(viewer);
    this.stats.frames += 1;
    this.stats.frameCharacters += body.length;
    viewer.sink.write(body);
  }

  #postpone(viewer: Viewer, nowMs: number): boolean {
    this.stats.postponed += 1;
    viewer.behindSinceMs ??= nowMs;
    if (nowMs - viewer.behindSinceMs < BEHIND_MAX_MS) return true;
    this.stats.cut += 1;
    this.close(viewer);
    viewer.sink.cut();
    return false;
  }
}

/** Nothing waits for the viewer, so there is nothing that it is behind with. */
function rest(viewer: Viewer): void {
  viewer.pace = 'idle';
  viewer.behindSinceMs = null;
}

/** What the viewer has not been given yet, as the body of a frame. What is dirty was given a state before, and has one. */
function frameOf({ dirty }: Viewer): string {
  let updates = '';
  for (const subscription of dirty) {
    const { watched, base } = subscription;
    const latest = watched.latest!;
    updates += `${updates === '' ? '' : ','}${latest.since(base!)}`;
    subscription.base = latest;
    watched.clean.add(subscription);
  }
  dirty.clear();
  return `[${updates}]`;
}
