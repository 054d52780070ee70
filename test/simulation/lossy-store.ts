import { NEVER, type Observable, Subject } from 'rxjs';
import type { Batch, CommitResult, PostCounts } from '../../src/counters/batch.js';
import type { Key64 } from '../../src/counters/ids.js';
import type { MilestoneStore } from '../../src/store/milestone-store.js';
import type { CounterStore, PostView } from '../../src/store/counter-store.js';
import type { ReferenceStore } from '../contract/reference-store.js';
import type { SimulatedClock } from './simulated-clock.js';

interface Committed {
  readonly batch: Batch;
  readonly outcomes: Uint8Array;
  readonly atMs: number;
}

/** A primary, and a replica that applies the same commits later or never: a failover loses the last ones. */
export class LossyStore implements CounterStore {
  readonly changes = new Subject<readonly PostCounts[]>();
  readonly available = true;
  readonly allReachable = true;
  readonly replication = null;
  readonly replayWindowMs = 0;
  readonly description = {};
  readonly reconnected: Observable<void> = NEVER;
  /** The commits that the primary's counts consist of. */
  #history: Committed[] = [];
  /** How many commits the replica has. */
  #replicated = 0;
  #replica: ReferenceStore;

  constructor(
    public primary: ReferenceStore,
    private readonly clock: SimulatedClock,
  ) {
    this.#replica = primary.copy();
  }

  get history(): readonly Committed[] {
    return this.#history;
  }

  async commit(batch: Batch): Promise<CommitResult> {
    const last = this.#history.findLast(
      (one) => one.batch.producerId === batch.producerId && one.batch.bucket === batch.bucket,
    );
    const result = await this.primary.commit(batch);
    if (result.kind === 'applied' && batch.batchNumber !== last?.batch.batchNumber) {
      this.#history.push({ batch, outcomes: result.outcomes, atMs: this.clock.nowMs() });
    }
    return result;
  }

  /** Promotes the replica, which lacks the commits of the last `lagMs`. @returns how many these are */
  async failOver(lagMs: number): Promise<number> {
    const sinceMs = this.clock.nowMs() - lagMs;
    const lost = this.#history.filter(({ atMs }) => atMs > sinceMs).length;
    const kept = Math.max(this.#history.length - lost, this.#replicated);
    for (const { batch } of this.#history.slice(this.#replicated, kept)) await this.#replica.commit(batch);
    const lostNow = this.#history.length - kept;
    this.#history = this.#history.slice(0, kept);
    this.#replicated = kept;
    this.primary = this.#replica;
    this.#replica = this.primary.copy();
    return lostNow;
  }

  read(posts: readonly string[], actor: Key64 | null): Promise<PostView[]> {
    return this.primary.read(posts, actor);
  }

  get milestones(): MilestoneStore {
    return this.primary.milestones;
  }

  watch(post: string): void {
    this.primary.watch(post);
  }

  unwatch(post: string): void {
    this.primary.unwatch(post);
  }

  reportViewers(): void {}

  close(): Promise<void> {
    return Promise.resolve();
  }
}
