import { NEVER, type Observable, Subject } from 'rxjs';
import type { CommitResult, PostCounts } from '../../src/counters/batch.js';
import type { MilestoneNews, MilestoneStore } from '../../src/store/milestone-store.js';
import type { CounterStore, PostView } from '../../src/store/counter-store.js';

/** A read that the test ends. It returns what was stored when it began. */
export interface HeldRead {
  finish(): void;
  fail(): void;
}

/** A store whose contents, published changes and reads a test decides. It takes no commits. */
export class ScriptedStore implements CounterStore {
  readonly changes = new Subject<readonly PostCounts[]>();
  readonly available = true;
  readonly allReachable = true;
  readonly replication = null;
  readonly reached = new Subject<readonly MilestoneNews[]>();
  /** Only its news are used. */
  readonly milestones = { reached: this.reached } as unknown as MilestoneStore;
  readonly replayWindowMs = 0;
  readonly description = {};
  readonly reconnected: Observable<void> = NEVER;
  /** Posts that are watched. */
  readonly watched = new Set<string>();
  readonly calls = { watch: 0, unwatch: 0 };
  /** While set, the test ends the reads. */
  holding = false;
  readonly held: HeldRead[] = [];
  /** The bits of toggles that are on, for every actor. */
  on = 0;
  #e = 'test.1.a';
  readonly #counts = new Map<string, PostCounts>();

  /** The stored counts of the post; zeros at version 0 if there are none. */
  counts(post: string): PostCounts {
    return this.#counts.get(post) ?? { post, e: this.#e, v: 0, updatedAtMs: null, totals: [0, 0], live: 0 };
  }

  /** Stores the post's next version without publishing it. */
  put(post: string, likes: number, views = 0): PostCounts {
    const next = { post, e: this.#e, v: this.counts(post).v + 1, updatedAtMs: 1, totals: [likes, views], live: 0 };
    this.#counts.set(post, next);
    return next;
  }

  /** Stores the post's next version and publishes it. */
  change(post: string, likes: number, views = 0): void {
    this.publish(this.put(post, likes, views));
  }

  /** Publishes these counts where their post is watched. */
  publish(...counts: readonly PostCounts[]): void {
    const changed = counts.filter(({ post }) => this.watched.has(post));
    if (changed.length > 0) this.changes.next(changed);
  }

  /** Starts an epoch: versions start again, and each count has lost one. */
  startEpoch(e: string): void {
    this.#e = e;
    for (const [post, { totals }] of this.#counts) {
      this.#counts.set(post, {
        post,
        e,
        v: 1,
        updatedAtMs: 1,
        totals: totals.map((total) => Math.max(total - 1, 0)),
        live: 0,
      });
    }
  }

  read(posts: readonly string[]): Promise<PostView[]> {
    const views = posts.map((post) => ({ counts: this.counts(post), on: this.on }));
    if (!this.holding) return Promise.resolve(views);
    return new Promise((resolve, reject) => {
      const fail = () => reject(new Error('the store did not answer'));
      this.held.push({ finish: () => resolve(views), fail });
    });
  }

  watch(post: string): void {
    if (this.watched.has(post)) throw new Error(`${post} is watched already`);
    this.watched.add(post);
    this.calls.watch += 1;
  }

  unwatch(post: string): void {
    if (!this.watched.delete(post)) throw new Error(`${post} is not watched`);
    this.calls.unwatch += 1;
  }

  reportViewers(): void {}

  commit(): Promise<CommitResult> {
    return Promise.reject(new Error('this store takes no commits'));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
