import type { PostCounts } from '../../src/counters/batch.js';
import type { FirstView } from '../../src/fanout/fanout.js';
import type { Frame } from '../../src/fanout/frame.js';
import type { FrameSink, Viewer } from '../../src/fanout/viewer.js';
import type { Update } from '../../src/protocol/messages.js';
import { ADA, CALM_MS, FanoutWorld, METRICS, TICK_MS } from './fanout-world.js';
import type { HeldRead } from './scripted-store.js';
import { settled } from './simulated-clock.js';

export const POSTS = ['a', 'b', 'c'] as const;
export const VIEWERS = 4;

export type Step =
  | { readonly do: 'change'; readonly post: string; readonly likes: number }
  | { readonly do: 'announce'; readonly which: readonly number[] }
  | { readonly do: 'advance'; readonly ms: number }
  | { readonly do: 'subscribe'; readonly viewer: number; readonly posts: readonly string[] }
  /** These end in one turn, like the reads that one reply of Redis resolves. */
  | { readonly do: 'read'; readonly which: readonly number[]; readonly fails: boolean }
  | { readonly do: 'unsubscribe'; readonly viewer: number; readonly posts: readonly string[] }
  | { readonly do: 'repeat'; readonly viewer: number; readonly posts: readonly string[] }
  | { readonly do: 'slow'; readonly viewer: number; readonly slow: boolean }
  | { readonly do: 'leave'; readonly viewer: number }
  | { readonly do: 'epoch' };

/** The counts of a post that a viewer has. */
type Known = Pick<Update, 'e' | 'v' | 'live'> & { readonly totals: readonly number[] };

/** A viewer that applies its frames and records contradictions. */
class CheckingViewer implements FrameSink {
  viewer!: Viewer;
  readonly known = new Map<string, Known>();
  hasUnsent = false;
  slow = false;
  reading = false;
  #lastFrameMs = -Infinity;
  /** When it last became writable. */
  freeSinceMs = 0;

  constructor(
    private readonly world: FanoutWorld,
    private readonly fault: (what: string) => void,
  ) {}

  write({ body }: Frame): void {
    const now = this.world.clock.nowMs();
    if (this.viewer.isClosed) this.fault('a frame came after it had left');
    if (this.hasUnsent) this.fault('a second frame was on its way');
    if (now - this.#lastFrameMs < TICK_MS) this.fault('two frames came within a tick');
    this.#lastFrameMs = now;
    this.hasUnsent = this.slow;
    const updates = JSON.parse(body) as Update[];
    if (new Set(updates.map(({ post }) => post)).size !== updates.length) this.fault('a post was twice in a frame');
    for (const update of updates) this.#check(update);
  }

  sendMilestone(): void {
    this.fault('a milestone came, and none was reached');
  }

  disconnectSlow(): void {
    this.fault('it was disconnected');
  }

  #check(update: Update): void {
    const { post, e, v, live, d = {} } = update;
    const known = this.known.get(post);
    if (known === undefined) return this.fault('an update came before the snapshot, or after the post was left');
    const totals = METRICS.list.map(({ name }) => update[name] as number);
    const sums = METRICS.list.map(({ name, index }) => (known.totals[index] ?? 0) + (d[name] ?? 0));
    if (JSON.stringify(totals) !== JSON.stringify(sums)) this.fault('d is not the change since the frame before');
    if (Object.values(d).includes(0)) this.fault('d names what did not change');
    if (e === known.e && v < known.v) this.fault('a version went back');
    this.known.set(post, { e, v, live, totals });
  }
}

/**
 * Viewers, a store and time, which take steps in any order. Violations of the protocol are recorded in `faults`: a frame too soon or on top of
 * another, a `d` that does not add up, a version that goes back, a viewer that waits too long.
 */
export class FanoutModel {
  readonly faults: string[] = [];
  readonly #world = new FanoutWorld();
  readonly #viewers: CheckingViewer[];
  /** Counts that were stored in this epoch and may be published. */
  #news: PostCounts[] = [];
  /** The newest published counts of this epoch, and when they were. */
  readonly #announced = new Map<string, { readonly counts: PostCounts; readonly atMs: number }>();
  #epochs = 1;

  constructor() {
    this.#world.store.holding = true;
    this.#viewers = Array.from({ length: VIEWERS }, (_, i) => {
      const checking = new CheckingViewer(this.#world, (what) => this.faults.push(`viewer ${i}: ${what}`));
      checking.viewer = this.#world.fanout.open(i % 2 === 0 ? null : ADA, checking);
      return checking;
    });
  }

  async take(step: Step): Promise<void> {
    const { clock, store } = this.#world;
    if (step.do === 'change') this.#change(step.post, step.likes);
    else if (step.do === 'announce') this.#announce(step.which.flatMap((i) => this.#news[i] ?? []));
    else if (step.do === 'advance') await clock.advance(step.ms);
    else if (step.do === 'read')
      await this.#endReads(
        step.which.flatMap((i) => store.held.splice(i, 1)),
        step.fails,
      );
    else if (step.do === 'epoch') this.#startEpoch();
    else this.#act(step, this.#viewers[step.viewer]!);
    this.#checkTimeliness();
  }

  /** Publishes the newest counts and makes all viewers read; a tick later all must have them. Then all leave. */
  async end(): Promise<void> {
    const { clock, store, fanout } = this.#world;
    await this.#endReads(store.held.splice(0), false);
    this.#announce(POSTS.map((post) => store.counts(post)));
    for (const viewer of this.#viewers) {
      viewer.slow = false;
      viewer.hasUnsent = false;
    }
    await clock.advance(TICK_MS);
    this.#checkAll(false);
    await clock.advance(CALM_MS);
    this.#checkAll(true);
    for (const { viewer } of this.#viewers) fanout.close(viewer);
    await clock.advance(CALM_MS);
    const { watch, unwatch } = store.calls;
    if (fanout.watchedPosts + store.watched.size + clock.timers > 0 || watch !== unwatch) this.faults.push('a leak');
  }

  #change(post: string, likes: number): void {
    const { totals } = this.#world.store.counts(post);
    this.#news.push(this.#world.store.put(post, Math.max(totals[0]! + likes, 0), totals[1]! + 1));
  }

  #announce(news: readonly PostCounts[]): void {
    const { store, clock } = this.#world;
    for (const counts of news) {
      if (!store.watched.has(counts.post)) continue;
      const known = this.#announced.get(counts.post)?.counts;
      if (known?.e === counts.e && known.v >= counts.v) continue;
      this.#announced.set(counts.post, { counts, atMs: clock.nowMs() });
    }
    store.publish(...news);
  }

  #startEpoch(): void {
    this.#epochs += 1;
    this.#world.store.startEpoch(`test.${this.#epochs}.x`);
    this.#news = POSTS.map((post) => this.#world.store.counts(post));
  }

  #act(step: Step & { viewer: number }, viewer: CheckingViewer): void {
    const { fanout, clock } = this.#world;
    if (step.do === 'slow') {
      if (viewer.hasUnsent && !step.slow) viewer.freeSinceMs = clock.nowMs();
      viewer.slow = step.slow;
      if (!step.slow) viewer.hasUnsent = false;
    } else if (step.do === 'leave') {
      fanout.close(viewer.viewer);
      viewer.known.clear();
    } else if (step.do === 'repeat') {
      fanout.resend(viewer.viewer, step.posts);
    } else if (step.do === 'unsubscribe') {
      fanout.unsubscribe(viewer.viewer, step.posts);
      for (const post of step.posts) viewer.known.delete(post);
      // Requests of a connection are handled one after the other.
    } else if (step.do === 'subscribe' && !viewer.reading) void this.#subscribe(viewer, step.posts);
  }

  async #subscribe(viewer: CheckingViewer, posts: readonly string[]): Promise<void> {
    viewer.reading = true;
    try {
      await this.#world.fanout.subscribe(viewer.viewer, posts, null, (first) => this.#show(viewer, first));
    } catch {
      const watched = [...viewer.viewer.subscriptions.keys()].sort();
      if (String(watched) !== String([...viewer.known.keys()].sort())) this.faults.push('a failed read changed more');
    }
    viewer.reading = false;
  }

  #show(viewer: CheckingViewer, first: readonly FirstView[]): void {
    for (const { snapshot } of first) {
      const { post, e, v, totals } = snapshot.counts;
      const known = viewer.known.get(post);
      if (known?.e === e && v < known.v) this.faults.push('a snapshot was older than what came before');
      viewer.known.set(post, { e, v, live: snapshot.live, totals });
    }
  }

  async #endReads(reads: readonly HeldRead[], fails: boolean): Promise<void> {
    for (const read of reads) {
      if (fails) read.fail();
      else read.finish();
    }
    await settled();
  }

  /** Every viewer that was writable for a tick since the newest counts were published has them. */
  #checkTimeliness(): void {
    const now = this.#world.clock.nowMs();
    for (const [i, { viewer, known, hasUnsent, slow, freeSinceMs }] of this.#viewers.entries()) {
      if (viewer.isClosed || hasUnsent || slow) continue;
      for (const [post, { e, v }] of known) {
        const news = this.#announced.get(post);
        if (news === undefined || now - Math.max(news.atMs, freeSinceMs) < TICK_MS) continue;
        if (news.counts.e === this.#world.store.counts(post).e && (e !== news.counts.e || v < news.counts.v))
          this.faults.push(`viewer ${i}: did not get ${post} within a tick`);
      }
    }
  }

  #checkAll(alsoLive: boolean): void {
    for (const [i, { viewer, known }] of this.#viewers.entries()) {
      if (viewer.isClosed) continue;
      for (const post of viewer.subscriptions.keys()) {
        const { e, v, totals } = this.#world.store.counts(post);
        const live = alsoLive ? this.#world.presence.countViewers(post) : known.get(post)?.live;
        const is = JSON.stringify(known.get(post));
        const right = JSON.stringify({ e, v, live, totals });
        if (is !== right) this.faults.push(`viewer ${i}: ends with ${is} of ${post} instead of ${right}`);
      }
    }
  }
}
