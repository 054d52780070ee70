import type { Clock } from '../common/clock.js';
import type { PostCounts } from '../counters/batch.js';
import type { Key64 } from '../counters/ids.js';
import type { Metrics } from '../counters/metrics.js';
import type { Presence } from './presence.js';
import type { CounterStore, PostView } from '../store/counter-store.js';
import { FrameScheduler, type FrameSchedulerStats } from './frame-scheduler.js';
import { Snapshot } from './snapshot.js';
import { type FrameSink, type Subscription, Viewer } from './viewer.js';
import { WatchedPost } from './watched-post.js';

/** The state of a post that a subscriber is shown first. */
export interface FirstView {
  readonly snapshot: Snapshot;
  /** Viewers now, which may be more or less than the snapshot has: they are told of it with everybody. */
  readonly live: number;
  /** A bit for each metric index whose toggle is on for the actor. */
  readonly on: number;
}

/**
 * Brings each change of a post to everyone who watches it: keeps which viewers lack which posts' newest state. When they
 * are given it is the pacer's matter. A change that comes before the viewers' next frame costs nothing.
 */
export class Fanout {
  readonly #posts = new Map<string, WatchedPost<Subscription>>();
  readonly #pacer: FrameScheduler;
  readonly #touched: (subscription: Subscription) => void;

  constructor(
    private readonly store: CounterStore,
    private readonly presence: Presence,
    clock: Clock,
    private readonly metrics: Metrics,
    tickMs: number,
  ) {
    this.#pacer = new FrameScheduler(clock, tickMs, (viewer) => this.close(viewer));
    this.#touched = (subscription) => {
      subscription.viewer.dirty.push(subscription);
      this.#pacer.schedule(subscription.viewer);
    };
    store.changes.subscribe((changed) => this.#changed(changed));
    presence.changes.subscribe((posts) => this.#viewersChanged(posts));
  }

  /** Milliseconds: TICK_MS, or more while the gateway does not keep up. */
  get tickMs(): number {
    return Math.round(this.#pacer.tickMs);
  }

  get stats(): FrameSchedulerStats {
    return this.#pacer.stats;
  }

  get watchedPosts(): number {
    return this.#posts.size;
  }

  /** Whether somebody here watches the post and was shown that something was counted. Costs one look into a map. */
  hasCounts(post: string): boolean {
    return (this.#posts.get(post)?.latest?.counts.v ?? 0) > 0;
  }

  open(actor: string | null, sink: FrameSink): Viewer {
    this.#pacer.connectionOpened();
    return new Viewer(actor, sink);
  }

  /**
   * Starts watching: gives the snapshots to `show`, and frames follow. Those of posts that the viewer left meanwhile are
   * missing, and of one that is gone all are. Watching a post again gives its snapshot again.
   * When the store cannot be read, it rejects and only what was watched before still is.
   * @param show called before any frame that continues what it is given, so it has to send it, or keep it in order, at
   * once. A promise of it would be too late: what the next viewer's read brings is written before it is looked at.
   */
  async subscribe(
    viewer: Viewer,
    posts: readonly string[],
    actor: Key64 | null,
    show: (first: FirstView[]) => void,
  ): Promise<void> {
    if (viewer.closed) return show([]);
    const subscriptions = posts.map((post) => this.#watch(viewer, post));
    const epochs = subscriptions.map(({ watched }) => watched.latest?.counts.e);
    let views: PostView[];
    try {
      views = await this.store.read(posts, actor);
    } catch (error) {
      for (const subscription of subscriptions) if (subscription.baseline === null) this.#end(subscription);
      throw error;
    }
    const first: FirstView[] = [];
    subscriptions.forEach((subscription, i) => {
      if (subscription.closed) return;
      const { counts, on } = views[i]!;
      const snapshot = this.#begin(subscription, counts, epochs[i]);
      const live = this.presence.countLive({ post: counts.post, live: subscription.watched.reportedViewers });
      if (live !== snapshot.live) subscription.watched.withOutdatedViewerCount.push(subscription);
      first.push({ snapshot, live, on });
    });
    show(first);
    this.#pacer.runSlice();
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
   * not all it should know. A version it knows says nothing of `countLive`.
   */
  resend(viewer: Viewer, posts: Iterable<string>): void {
    for (const post of posts) {
      const subscription = viewer.subscriptions.get(post);
      if (subscription !== undefined) this.#repeat(subscription);
    }
    this.#pacer.runSlice();
  }

  /**
   * Sends what waits for a tick now: the last counts before a drain. To those who are behind as well: one frame more is
   * all that will wait for them.
   */
  flush(viewers: Iterable<Viewer>): void {
    this.#pacer.flush(viewers);
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
    watched.subscriptionCount += 1;
    const subscription: Subscription = { viewer, watched, baseline: null, cleanIndex: -1, closed: false };
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
    subscription.baseline = snapshot;
    if (subscription.cleanIndex === -1) {
      undirty(viewer, subscription);
      watched.markClean(subscription);
    }
    return snapshot;
  }

  #end(subscription: Subscription): void {
    if (subscription.closed) return;
    const { viewer, watched } = subscription;
    subscription.closed = true;
    viewer.subscriptions.delete(watched.id);
    if (!watched.removeClean(subscription)) undirty(viewer, subscription);
    watched.subscriptionCount -= 1;
    this.presence.leave(watched.id, viewer.actor);
    if (watched.subscriptionCount > 0) return;
    this.#posts.delete(watched.id);
    this.store.unwatch(watched.id);
  }

  #changed(changed: readonly PostCounts[]): void {
    for (const counts of changed) {
      const watched = this.#posts.get(counts.post);
      if (watched !== undefined) this.#offer(watched, counts);
    }
    this.#pacer.runSlice();
  }

  #viewersChanged(posts: readonly string[]): void {
    this.store.reportViewers(new Map(posts.map((post) => [post, this.presence.connections(post)])));
    for (const post of posts) {
      const watched = this.#posts.get(post);
      if (watched === undefined) continue;
      this.#showLive(watched);
      for (const subscription of watched.withOutdatedViewerCount.splice(0)) this.#repeat(subscription);
    }
    this.#pacer.runSlice();
  }

  #repeat(subscription: Subscription): void {
    if (!subscription.watched.removeClean(subscription)) return;
    this.#touched(subscription);
  }

  /** Takes the counts if they are news; `countLive` is no part of their version. @returns the newest state. */
  #offer(watched: WatchedPost<Subscription>, counts: PostCounts): Snapshot {
    const told = watched.reportedViewers;
    watched.reportedViewers = counts.live;
    const known = watched.latest?.counts;
    if (known?.e !== counts.e || known.v < counts.v)
      return this.#replace(watched, counts, this.presence.countLive(counts));
    if (told !== counts.live) this.#showLive(watched);
    return watched.latest!;
  }

  #showLive(watched: WatchedPost<Subscription>): void {
    const { id, reportedViewers: told, latest } = watched;
    const live = this.presence.countLive({ post: id, live: told });
    if (latest !== null && latest.live !== live) this.#replace(watched, latest.counts, live);
  }

  #replace(watched: WatchedPost<Subscription>, counts: PostCounts, live: number): Snapshot {
    const snapshot = new Snapshot(counts, live, this.metrics);
    watched.replace(snapshot, this.#touched);
    return snapshot;
  }
}

function undirty(viewer: Viewer, subscription: Subscription): void {
  const at = viewer.dirty.indexOf(subscription);
  if (at !== -1) viewer.dirty.splice(at, 1);
}
