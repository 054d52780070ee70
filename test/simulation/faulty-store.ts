import { type Observable, Subject } from 'rxjs';
import type { Batch, CommitResult, PostCounts } from '../../src/counters/batch.js';
import type { Key64 } from '../../src/counters/ids.js';
import type { Operation } from '../../src/counters/operation.js';
import type { MilestoneStore } from '../../src/store/milestone-store.js';
import type { CounterStore, PostView, ViewersChange } from '../../src/store/counter-store.js';
import type { SimulatedClock } from './simulated-clock.js';

/** The fate of one commit call. */
export interface Conduct {
  /** When the batch is applied, which may be after the call was rejected; `null`: never. */
  readonly appliesAfterMs: number | null;
  /** When its promise settles. */
  readonly endsAfterMs: number;
  /** Whether it resolves with the result; else it rejects. */
  readonly answers: boolean;
}

export const GOOD: Conduct = { appliesAfterMs: 1, endsAfterMs: 1, answers: true };
export const REFUSES: Conduct = { appliesAfterMs: null, endsAfterMs: 1, answers: false };
export const LOSES_ANSWER: Conduct = { appliesAfterMs: 1, endsAfterMs: 2, answers: false };

/** A store behind a bad connection. It records calls that ingest must not make. */
export class FaultyStore implements CounterStore {
  available = true;
  get allReachable(): boolean {
    return this.available;
  }
  readonly reconnected = new Subject<void>();
  readonly replication = null;
  readonly description = {};
  /** All batches that were sent, in order, retries included. */
  readonly sent: { readonly batch: Batch; readonly atMs: number }[] = [];
  /** Batches that were applied, in order. */
  readonly applied: Batch[] = [];
  readonly misuses: string[] = [];
  readonly #inFlight = new Set<number>();
  /** By bucket, producer and batch number, the operations that were sent. */
  readonly #contents = new Map<string, string>();
  #server = 1;

  constructor(
    private readonly inner: CounterStore,
    private readonly clock: SimulatedClock,
    readonly replayWindowMs: number,
    public conduct: (batch: Batch) => Conduct = () => GOOD,
  ) {}

  get changes(): Observable<readonly PostCounts[]> {
    return this.inner.changes;
  }

  commit(batch: Batch): Promise<CommitResult> {
    this.#check(batch);
    this.sent.push({ batch, atMs: this.clock.nowMs() });
    this.#inFlight.add(batch.bucket);
    const { appliesAfterMs, endsAfterMs, answers } = this.available ? this.conduct(batch) : REFUSES;
    const server = this.#server;
    return new Promise((resolve, reject) => {
      let result: Promise<CommitResult> | null = null;
      if (appliesAfterMs !== null) {
        this.clock.after(appliesAfterMs, () => {
          if (server === this.#server) result = this.#apply(batch);
        });
      }
      this.clock.after(endsAfterMs, () => {
        this.#inFlight.delete(batch.bucket);
        if (answers && result !== null) resolve(result);
        else reject(new Error('no answer'));
      });
    });
  }

  /** The server goes down: batches that it has not applied are lost; results of others may still come. */
  down(): void {
    this.available = false;
    this.#server += 1;
  }

  up(): void {
    this.available = true;
    this.reconnected.next();
  }

  read(posts: readonly string[], actor: Key64 | null): Promise<PostView[]> {
    return this.inner.read(posts, actor);
  }

  get milestones(): MilestoneStore {
    return this.inner.milestones;
  }

  watch(post: string): void {
    this.inner.watch(post);
  }

  unwatch(post: string): void {
    this.inner.unwatch(post);
  }

  reportViewers(changes: ReadonlyMap<string, ViewersChange>): void {
    this.inner.reportViewers(changes);
  }

  close(): Promise<void> {
    return this.inner.close();
  }

  async #apply(batch: Batch): Promise<CommitResult> {
    const result = await this.inner.commit(batch);
    if (result.kind === 'applied' && !this.applied.includes(batch)) this.applied.push(batch);
    return result;
  }

  #check({ bucket, producerId, batchNumber, operations }: Batch): void {
    if (this.#inFlight.has(bucket)) this.misuses.push(`two batches of bucket ${bucket} in flight`);
    if (operations.length < 1 || operations.length > 500) this.misuses.push(`a batch of ${operations.length}`);
    const name = (number: number): string => `${bucket} ${producerId} ${number}`;
    const content = contentOf(operations);
    const before = this.#contents.get(name(batchNumber));
    if (before !== undefined && before !== content) this.misuses.push(`another batch ${name(batchNumber)}`);
    if (batchNumber > 1 && !this.#contents.has(name(batchNumber - 1)))
      this.misuses.push(`batch ${name(batchNumber)} comes too early`);
    this.#contents.set(name(batchNumber), content);
  }
}

function contentOf(operations: readonly Operation[]): string {
  return operations
    .map(({ post, metric, kind, value, actor, session, seq }) =>
      [post, metric, kind, value, actor?.hi, actor?.lo, session?.hi, session?.lo, seq].join(),
    )
    .join(' ');
}
