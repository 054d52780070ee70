import type { Clock } from '../common/clock.js';
import type { PostCounts } from '../counters/batch.js';
import { type Key64, toKeyText } from '../counters/ids.js';
import type { Metrics } from '../counters/metrics.js';
import { MilestoneDelivery } from './milestone-delivery.js';
import type { Presence } from './presence.js';
import type { CounterStore, PostView, ViewersChange } from '../store/counter-store.js';
import { FrameScheduler, type FrameSchedulerStats } from './frame-scheduler.js';
import { PostSnapshot } from './post-snapshot.js';
import { type FrameSink, type Subscription, Viewer } from './viewer.js';
import { WatchedPost } from './watched-post.js';

/** The state of a post that a new subscriber gets. */
export interface FirstView {
  readonly snapshot: PostSnapshot;
  /** Current viewers. The snapshot may have another number; then an update for all subscribers follows. */
  readonly live: number;
  /** A bit for each metric index whose toggle is on for the actor. */
  readonly on: number;
}

/**
 * Delivers each change of a post to its viewers: keeps track of which viewers lack the newest state of which posts.
 * FrameScheduler decides when they get it. A further change before a viewer's next frame costs nothing.
 */
export class Fanout {
  readonly #posts = new Map<string, WatchedPost<Subscription>>();
  readonly #viewers = new Set<Viewer>();
  readonly #scheduler: FrameScheduler;
  readonly #markDirty: (subscription: Subscription) => void;

  constructor(
    private readonly store: CounterStore,
    private readonly presence: Presence,
    clock: Clock,
    private readonly metrics: Metrics,
    tickMs: number,
  ) {
    this.#scheduler = new FrameScheduler(clock, tickMs, (viewer) => this.close(viewer));
    this.#markDirty = (subscription) => {
      subscription.viewer.dirty.push(subscription);
      this.#scheduler.schedule(subscription.viewer);
    };
    store.changes.subscribe((changes) => this.#applyChanges(changes));
    presence.changes.subscribe((changes) => this.#applyPresence(changes));
    const delivery = new MilestoneDelivery(this.#viewers, clock, metrics);
    store.milestones.reached.subscribe((news) => delivery.deliver(news.filter(({ post }) => this.#posts.has(post))));
  }

  /** TICK_MS, or more while the gateway does not keep up. */
  get tickMs(): number {
    return Math.round(this.#scheduler.tickMs);
  }

  get stats(): FrameSchedulerStats {
    return this.#scheduler.stats;
  }

  get watchedPosts(): number {
    return this.#posts.size;
  }

  /** Whether a viewer of this gateway watches the post and has got counts of it. Costs one lookup in a map. */
  hasCounts(post: string): boolean {
    return (this.#posts.get(post)?.latest?.counts.v ?? 0) > 0;
  }

  /** @param actor the key of the actor's name; `null`: none */
  open(actor: Key64 | null, sink: FrameSink): Viewer {
    this.#scheduler.connectionOpened();
    const viewer = new Viewer(actor && toKeyText(actor), sink);
    this.#viewers.add(viewer);
    return viewer;
  }

  /**
   * Starts watching: passes snapshots to `show`; frames follow. Posts that the viewer left meanwhile are missing, and after
   * the viewer was closed all are. Watching a post again passes its snapshot again. If the store cannot be read, the call
   * rejects, and only posts that were watched before still are, as before.
   * @param show must send the snapshots, or put them in order, at once, because frames that continue them follow. Returning
   * them in a promise would be too late: another viewer's read may complete before its callback runs, and write such frames.
   * @param isPresent whether the viewer counts in `live` of the posts, also of those that it watches already
   */
  async subscribe(
    viewer: Viewer,
    posts: readonly string[],
    actor: Key64 | null,
    show: (first: FirstView[]) => void,
    isPresent = true,
  ): Promise<void> {
    if (viewer.isClosed) return show([]);
    const subscriptions = posts.map((post) => this.#watch(viewer, post, isPresent));
    const epochs = subscriptions.map(({ watched }) => watched.latest?.counts.e);
    let views: PostView[];
    try {
      views = await this.#readViews(posts, actor, subscriptions);
    } catch (error) {
      for (const subscription of subscriptions) if (subscription.baseline === null) this.#end(subscription);
      throw error;
    }
    const first: FirstView[] = [];
    subscriptions.forEach((subscription, i) => {
      if (subscription.isClosed) return;
      this.#setPresent(subscription, isPresent);
      const { counts, on } = views[i]!;
      const snapshot = this.#begin(subscription, counts, epochs[i]);
      const live = this.presence.countLive({ post: counts.post, live: subscription.watched.reportedViewers });
      if (live !== snapshot.live) subscription.watched.withOutdatedViewerCount.push(subscription);
      first.push({ snapshot, live, on });
    });
    show(first);
    this.#scheduler.runSlice();
  }

  /**
   * The toggles of the actor must be as new as the counts beside them. Counts that are published during the read may be newer than what was
   * read: then these posts are read once more.
   */
  async #readViews(
    posts: readonly string[],
    actor: Key64 | null,
    subscriptions: readonly Subscription[],
  ): Promise<PostView[]> {
    const views = await this.store.read(posts, actor);
    if (actor === null) return views;
    const overtaken = posts.flatMap((_, i) => (isOlder(views[i]!.counts, subscriptions[i]!.watched) ? [i] : []));
    if (overtaken.length === 0) return views;
    const again = await this.store.read(
      overtaken.map((i) => posts[i]!),
      actor,
    );
    for (const [at, i] of overtaken.entries()) views[i] = again[at]!;
    return views;
  }

  /** Reads the counts of a post for a client that need not watch it. */
  async readCounts(post: string): Promise<PostCounts> {
    const [view] = await this.store.read([post], null);
    return view!.counts;
  }

  unsubscribe(viewer: Viewer, posts: Iterable<string>): void {
    for (const post of posts) {
      const subscription = viewer.subscriptions.get(post);
      if (subscription !== undefined) this.#end(subscription);
    }
  }

  close(viewer: Viewer): void {
    viewer.isClosed = true;
    this.#viewers.delete(viewer);
    this.unsubscribe(viewer, viewer.subscriptions.keys());
  }

  /**
   * Puts the newest state of posts that the viewer watches into its next frame, even if they did not change, because the
   * viewer may lack a part of it: `live` changes without a new version.
   */
  resend(viewer: Viewer, posts: Iterable<string>): void {
    for (const post of posts) {
      const subscription = viewer.subscriptions.get(post);
      if (subscription !== undefined) this.#resend(subscription);
    }
    this.#scheduler.runSlice();
  }

  /**
   * Sends updates that wait for a tick at once: the last counts of a drain. Viewers with unsent frames get one, too, because
   * no further frame will follow.
   */
  flush(viewers: Iterable<Viewer>): void {
    this.#scheduler.flush(viewers);
  }

  #watch(viewer: Viewer, post: string, isPresent: boolean): Subscription {
    const existing = viewer.subscriptions.get(post);
    if (existing !== undefined) return existing;
    let watched = this.#posts.get(post);
    if (watched === undefined) {
      watched = new WatchedPost(post);
      this.#posts.set(post, watched);
      this.store.watch(post);
    }
    watched.subscriptionCount += 1;
    const subscription = { viewer, watched, isPresent, baseline: null, cleanIndex: -1, isClosed: false };
    viewer.subscriptions.set(post, subscription);
    this.presence.enter(post, viewer.person, isPresent);
    return subscription;
  }

  #setPresent(subscription: Subscription, isPresent: boolean): void {
    const { viewer, watched } = subscription;
    if (subscription.isPresent === isPresent) return;
    this.presence.leave(watched.id, viewer.person, subscription.isPresent);
    this.presence.enter(watched.id, viewer.person, isPresent);
    subscription.isPresent = isPresent;
  }

  /** @returns the viewer's first snapshot, from the counts that were read and the epoch before the read */
  #begin(subscription: Subscription, counts: PostCounts, epochBefore: string | undefined): PostSnapshot {
    const { viewer, watched } = subscription;
    const { latest } = watched;
    // Versions of two epochs cannot be compared. If another epoch was published during the read, the counts that were
    // read may be older. If they are newer, they will be published as well.
    const isOvertaken = latest !== null && latest.counts.e !== counts.e && latest.counts.e !== epochBefore;
    const snapshot = isOvertaken ? latest : this.#accept(watched, counts);
    subscription.baseline = snapshot;
    if (subscription.cleanIndex === -1) {
      unmarkDirty(viewer, subscription);
      watched.markClean(subscription);
    }
    return snapshot;
  }

  #end(subscription: Subscription): void {
    if (subscription.isClosed) return;
    const { viewer, watched } = subscription;
    subscription.isClosed = true;
    viewer.subscriptions.delete(watched.id);
    if (!watched.removeClean(subscription)) unmarkDirty(viewer, subscription);
    watched.subscriptionCount -= 1;
    this.presence.leave(watched.id, viewer.person, subscription.isPresent);
    if (watched.subscriptionCount > 0) return;
    this.#posts.delete(watched.id);
    this.store.unwatch(watched.id);
  }

  #applyChanges(changes: readonly PostCounts[]): void {
    for (const counts of changes) {
      const watched = this.#posts.get(counts.post);
      if (watched !== undefined) this.#accept(watched, counts);
    }
    this.#scheduler.runSlice();
  }

  #applyPresence(changes: ReadonlyMap<string, ViewersChange>): void {
    this.store.reportViewers(changes);
    for (const post of changes.keys()) {
      const watched = this.#posts.get(post);
      if (watched === undefined) continue;
      this.#updateLive(watched);
      for (const subscription of watched.withOutdatedViewerCount.splice(0)) this.#resend(subscription);
    }
    this.#scheduler.runSlice();
  }

  #resend(subscription: Subscription): void {
    if (!subscription.watched.removeClean(subscription)) return;
    this.#markDirty(subscription);
  }

  /** Accepts counts that are newer than the latest; `live` does not belong to their version. @returns the newest state */
  #accept(watched: WatchedPost<Subscription>, counts: PostCounts): PostSnapshot {
    const reportedBefore = watched.reportedViewers;
    watched.reportedViewers = counts.live;
    const latest = watched.latest?.counts;
    if (latest?.e !== counts.e || latest.v < counts.v)
      return this.#replace(watched, counts, this.presence.countLive(counts));
    if (reportedBefore !== counts.live) this.#updateLive(watched);
    return watched.latest!;
  }

  #updateLive(watched: WatchedPost<Subscription>): void {
    const { id, reportedViewers, latest } = watched;
    const live = this.presence.countLive({ post: id, live: reportedViewers });
    if (latest !== null && latest.live !== live) this.#replace(watched, latest.counts, live);
  }

  #replace(watched: WatchedPost<Subscription>, counts: PostCounts, live: number): PostSnapshot {
    const snapshot = new PostSnapshot(counts, live, this.metrics);
    watched.replace(snapshot, this.#markDirty);
    return snapshot;
  }
}

function isOlder({ e, v }: PostCounts, { latest }: WatchedPost<Subscription>): boolean {
  return latest?.counts.e === e && latest.counts.v > v;
}

function unmarkDirty(viewer: Viewer, subscription: Subscription): void {
  const at = viewer.dirty.indexOf(subscription);
  if (at !== -1) viewer.dirty.splice(at, 1);
}
