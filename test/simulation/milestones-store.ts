import { NEVER, type Observable } from 'rxjs';
import type { Batch, CommitResult, PostCounts } from '../../src/counters/batch.js';
import type { Key64 } from '../../src/counters/ids.js';
import { Metrics } from '../../src/counters/metrics.js';
import { NO_MILESTONES } from '../../src/counters/milestones.js';
import type { CounterStore, PostView } from '../../src/store/counter-store.js';
import type { MilestonesView } from '../../src/store/milestone-store.js';
import type { MemoryBucket } from '../contract/memory-bucket.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { type Change, describe, MilestonesLedger } from './milestones-ledger.js';
import type { MilestoneRules } from './milestones-rules.js';
import type { SimulatedClock } from './simulated-clock.js';

export const METRICS = Metrics.parse('likes:toggle,views:tally,yes:choice@vote,no:choice@vote');
export const POSTS = ['a', 'b', 'c'];
const INCARNATION = { region: 'here', epoch: 1, nonce: 1 };

/** A primary, and a replica that lacks its last changes: batches, armed milestones and imports. The ledger has what the primary has. */
export class MilestonesStore implements CounterStore {
  readonly changes: Observable<readonly PostCounts[]> = NEVER;
  readonly available = true;
  readonly allReachable = true;
  readonly replication = null;
  readonly replayWindowMs = 0;
  readonly description = {};
  readonly reconnected: Observable<void> = NEVER;
  /** The first invariant that was broken: to throw would only make a gateway send again. */
  fault = '';
  /** By post, metric and number, the operations that reached it in any history. */
  readonly winners = new Map<string, Set<string>>();
  ledger = new MilestonesLedger(METRICS.otherOptions);
  #primary: ReferenceStore;
  #replica: ReferenceStore;
  /** The changes that the primary's counts consist of, … */
  #history: Change[] = [];
  /** … and how many of them the replica has. */
  #replicated = 0;
  /** A replica has the times of the primary at which its changes were made. */
  #replayedAtMs: number | null = null;

  constructor(
    private readonly clock: SimulatedClock,
    private readonly rules: MilestoneRules,
  ) {
    const nowMs = (): number => this.#replayedAtMs ?? clock.wallMs();
    const more = [undefined, rules.counting, undefined, nowMs] as const;
    this.#primary = new ReferenceStore(METRICS, 1, INCARNATION, () => 1, ...more);
    bucketOf(this.#primary).milestones = rules.newMilestones(nowMs);
    this.#replica = this.#primary.copy();
  }

  async commit(batch: Batch): Promise<CommitResult> {
    const before = bucketOf(this.#primary).producerState(batch.producerId);
    const result = await this.#primary.commit(batch);
    if (result.kind !== 'applied') return result;
    if (before?.batchNumber === batch.batchNumber) {
      const repeated = this.rules.repeat(bucketOf(this.#primary), batch, result.outcomes);
      if (repeated.join() !== before.outcomes.join()) this.fault ||= 'a batch that is sent again has other outcomes';
      return { ...result, outcomes: repeated };
    }
    const outcomes = this.rules.answer(bucketOf(this.#primary), batch, result.outcomes);
    this.#record({ kind: 'batch', batch, outcomes, atMs: this.clock.wallMs() });
    return { ...result, outcomes };
  }

  async arm(post: string, metric: number, n: number): Promise<void> {
    const { kind } = this.rules.armsByEarlierTotal
      ? this.#armUnchecked(post, metric, n)
      : await this.#primary.milestones.arm(post, metric, n);
    const { ledger } = this;
    const expected = ledger.winners(post, metric).some((winner) => winner.n === n)
      ? 'reached'
      : ledger.total(post, metric) >= n
        ? 'passed'
        : 'armed';
    if (kind !== expected) this.fault ||= `to arm ${n} is answered with ${kind} instead of ${expected}`;
    this.#record({ kind: 'arm', post, metric, n, atMs: this.clock.wallMs() });
  }

  async disarm(post: string, metric: number, n: number): Promise<void> {
    await this.#primary.milestones.disarm(post, metric, n);
    this.#record({ kind: 'disarm', post, metric, n, atMs: this.clock.wallMs() });
  }

  /** Merges what another region has counted of a tally. */
  async import(region: ReferenceStore, post: string, metric: number): Promise<void> {
    const [delta] = await region.readPosts([post]);
    const [view] = await region.read([post], null);
    const change = { kind: 'import', post, metric, total: view!.counts.totals[metric]!, delta: delta! } as const;
    await this.#primary.merge([change.delta]);
    this.#record({ ...change, atMs: this.clock.wallMs() });
  }

  /** Promotes the replica, which lacks the changes of the last `lagMs`. */
  async failOver(lagMs: number): Promise<void> {
    const sinceMs = this.clock.wallMs() - lagMs;
    const lost = this.#history.filter(({ atMs }) => atMs > sinceMs).length;
    const kept = Math.max(this.#history.length - lost, this.#replicated);
    for (const [i, change] of this.#history.slice(this.#replicated, kept).entries()) {
      if (i > 0) this.rules.follow(bucketOf(this.#replica));
      await this.#replay(change);
    }
    this.#history = this.#history.slice(0, kept);
    this.#replicated = kept;
    this.ledger = MilestonesLedger.after(METRICS.otherOptions, this.#history);
    this.#primary = this.#replica.copy();
    this.#replica = this.#primary.copy();
  }

  read(posts: readonly string[], actor: Key64 | null): Promise<PostView[]> {
    return this.#primary.read(posts, actor);
  }

  async readMilestones(post: string, metric: number): Promise<MilestonesView> {
    const { reached, ...view } = await this.#primary.milestones.read(post, metric);
    const nowMs = this.clock.wallMs();
    return { ...view, reached: reached.map((one) => ({ ...one, final: this.rules.isFinal(one, nowMs) })) };
  }

  get milestones(): ReferenceStore['milestones'] {
    return this.#primary.milestones;
  }

  watch(): void {}

  unwatch(): void {}

  reportViewers(): void {}

  close(): Promise<void> {
    return Promise.resolve();
  }

  #record(change: Change): void {
    this.rules.follow(bucketOf(this.#primary));
    this.#history.push(change);
    const wrong = this.ledger.add(change);
    this.fault ||= wrong;
    this.#keepWinners();
  }

  #keepWinners(): void {
    for (const post of POSTS) {
      for (const { index } of METRICS.list) {
        for (const winner of this.ledger.winners(post, index)) {
          const name = `${post} ${index} ${winner.n}`;
          this.winners.set(name, (this.winners.get(name) ?? new Set()).add(describe(winner)));
        }
      }
    }
  }

  #armUnchecked(post: string, metric: number, n: number): { readonly kind: 'armed' } {
    const { milestones } = bucketOf(this.#primary);
    const { armed, reached } = milestones.get(post, metric) ?? NO_MILESTONES;
    const now = [...new Set([...armed, n])].sort((a, b) => a - b);
    milestones.set(post, metric, { armed: now, reached }, []);
    return { kind: 'armed' };
  }

  async #replay(change: Change): Promise<void> {
    this.#replayedAtMs = change.atMs;
    if (change.kind === 'batch') await this.#replica.commit(change.batch);
    else if (change.kind === 'import') await this.#replica.merge([change.delta]);
    else await this.#replica.milestones[change.kind](change.post, change.metric, change.n);
    this.#replayedAtMs = null;
  }
}

function bucketOf(store: ReferenceStore): MemoryBucket {
  return store.buckets[0]!;
}
