import { type Observable, Subject } from 'rxjs';
import type { Batch, CommitResult, PostCounts } from '../../src/counters/batch.js';
import type { Key64 } from '../../src/counters/ids.js';
import type { CounterStore, PostView } from '../../src/store/counter-store.js';
import type { SimulatedClock } from './simulated-clock.js';

/** What becomes of one sending of a batch. */
export interface Conduct {
  /** When the batch is applied, which may be after its sender was let down; `null`: never. */
  readonly appliesAfterMs: number | null;
  /** When its promise settles. */
  readonly endsAfterMs: number;
  /** Whether with the answer; else it rejects. */
  readonly answers: boolean;
}

export const GOOD: Conduct = { appliesAfterMs: 1, endsAfterMs: 1, answers: true };
export const REFUSES: Conduct = { appliesAfterMs: null, endsAfterMs: 1, answers: false };
export const LOSES_ANSWER: Conduct = { appliesAfterMs: 1, endsAfterMs: 2, answers: false };

/** A store behind a bad connection. It notes what its caller must not do. */
export class FaultyStore implements CounterStore {
  readonly available = true;
  readonly returned = new Subject<void>();
  /** What was sent, in order, also what was sent again. */
  readonly sent: { readonly batch: Batch; readonly atMs: number }[] = [];
  /** What was applied, in order. */
  readonly applied: Batch[] = [];
  readonly misuses: string[] = [];
  readonly #inFlight = new Set<number>();
  readonly #last = new Map<number, Batch>();

  constructor(
    private readonly inner: CounterStore,
    private readonly clock: SimulatedClock,
    public conduct: (batch: Batch) => Conduct = () => GOOD,
  ) {}

  get changes(): Observable<readonly PostCounts[]> {
    return this.inner.changes;
  }

  commit(batch: Batch): Promise<CommitResult> {
    this.#check(batch);
    this.sent.push({ batch, atMs: this.clock.nowMs() });
    this.#inFlight.add(batch.bucket);
    const { appliesAfterMs, endsAfterMs, answers } = this.conduct(batch);
    return new Promise((resolve, reject) => {
      let result: Promise<CommitResult> | null = null;
      if (appliesAfterMs !== null) this.clock.after(appliesAfterMs, () => void (result = this.#apply(batch)));
      this.clock.after(endsAfterMs, () => {
        this.#inFlight.delete(batch.bucket);
        if (answers && result !== null) resolve(result);
        else reject(new Error('no answer'));
      });
    });
  }

  read(posts: readonly string[], actor: Key64 | null): Promise<PostView[]> {
    return this.inner.read(posts, actor);
  }

  watch(post: string): void {
    this.inner.watch(post);
  }

  unwatch(post: string): void {
    this.inner.unwatch(post);
  }

  share(viewers: ReadonlyMap<string, number>): void {
    this.inner.share(viewers);
  }

  close(): Promise<void> {
    return this.inner.close();
  }

  async #apply(batch: Batch): Promise<CommitResult> {
    const result = await this.inner.commit(batch);
    if (result.kind === 'applied' && !this.applied.includes(batch)) this.applied.push(batch);
    return result;
  }

  #check(batch: Batch): void {
    const { bucket, n, operations } = batch;
    if (this.#inFlight.has(bucket)) this.misuses.push(`two batches of bucket ${bucket} in flight`);
    const last = this.#last.get(bucket);
    if (n === last?.n) {
      if (batch !== last) this.misuses.push(`another batch ${n} of bucket ${bucket}`);
    } else if (n !== (last?.n ?? 0) + 1) this.misuses.push(`batch ${n} of bucket ${bucket} after ${last?.n ?? 0}`);
    if (operations.length < 1 || operations.length > 500) this.misuses.push(`a batch of ${operations.length}`);
    this.#last.set(bucket, batch);
  }
}
