import { NEVER, type Observable, Subject } from 'rxjs';
import { apply } from '../../counters/apply.js';
import type { Batch, CommitResult, PostCounts } from '../../counters/batch.js';
import { countsOf, epochOf } from '../../counters/bucket.js';
import type { Key64 } from '../../counters/ids.js';
import type { Metrics } from '../../counters/metrics.js';
import type { CounterStore, PostView } from '../counter-store.js';
import { DataDirectory, type DataDirectoryOptions } from './data-directory.js';
import { Records } from './records.js';

/** Chunks of old marks removed by one group commit, so that expiry never makes one long; … */
const PURGE_CHUNKS = 16;
/** … and one more for so many operations, a quarter of the marks in a chunk. */
const PURGE_OPERATIONS = 16;

export interface EmbeddedStoreOptions extends Omit<DataDirectoryOptions, 'metrics'> {
  readonly metrics: Metrics;
}

interface Waiting {
  readonly batch: Batch;
  readonly resolve: (result: CommitResult) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Counters in LMDB, for one process. Group commit: the batches that come while a transaction is being synced share the
 * next one, so the cost of a sync is divided by whatever waits for it. A transaction that fails changes nothing.
 */
export class EmbeddedStore implements CounterStore {
  readonly #directory: DataDirectory;
  #records: Records;
  readonly #epoch: string;
  readonly #watched = new Set<string>();
  readonly #changes = new Subject<readonly PostCounts[]>();
  /** Buckets whose old marks are not all removed yet. */
  readonly #purge: Set<number>;
  #waiting: Waiting[] = [];
  #running: Promise<void> | null = null;
  #available = true;

  readonly changes: Observable<readonly PostCounts[]> = this.#changes;
  /** What was synced is not forgotten. */
  readonly returned: Observable<void> = NEVER;

  /** @throws Error with one line that says what is wrong with the data directory. */
  constructor(private readonly options: EmbeddedStoreOptions) {
    this.#directory = DataDirectory.open({ ...options, metrics: options.metrics.toString() });
    this.#records = this.#recordsOf();
    this.#epoch = epochOf(this.#directory.replicas.at(-1)!);
    this.#purge = new Set(Array.from({ length: options.buckets }, (_, bucket) => bucket));
  }

  get available(): boolean {
    return this.#available;
  }

  get whole(): boolean {
    return this.#available;
  }

  commit(batch: Batch): Promise<CommitResult> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ batch, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- LMDB reads at once; what it throws must reject
  async read(posts: readonly string[], actor: Key64 | null): Promise<PostView[]> {
    return posts.map((id) => this.#view(id, actor));
  }

  watch(post: string): void {
    this.#watched.add(post);
  }

  unwatch(post: string): void {
    this.#watched.delete(post);
  }

  /** There is no other gateway to tell. */
  share(): void {}

  async close(): Promise<void> {
    await this.#running;
    this.#changes.complete();
    await this.#directory.close();
  }

  #recordsOf(): Records {
    return new Records(this.#directory.tables, this.#directory.replicas);
  }

  #view(id: string, actor: Key64 | null): PostView {
    const { metrics } = this.options;
    const records = this.#records;
    const { known, record } = records.committed(id);
    const counts = countsOf(id, this.#epoch, known ? record.state : undefined, metrics);
    let on = 0;
    if (actor !== null) {
      for (const { kind, index } of metrics.list) {
        const place = record.members[index];
        if (kind === 'toggle' && place !== undefined && records.members.has(id, index, place, actor)) on |= 1 << index;
      }
    }
    return { counts, on };
  }

  async #run(): Promise<void> {
    // Batches of all buckets that are flushed in one turn go into one transaction.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      try {
        const results = await this.#commitGroup(group);
        this.#available = true;
        group.forEach(({ resolve }, i) => resolve(results[i]!));
        this.#announce(results);
      } catch (error) {
        this.#available = false;
        // If that fails too, the next commit fails at once and tries again.
        await this.#directory.recover().catch(() => undefined);
        this.#records = this.#recordsOf();
        for (const { reject } of group) reject(error);
      }
      // Lets those who were just answered send their next batches into the same group.
      await Promise.resolve();
    }
    this.#running = null;
  }

  async #commitGroup(group: readonly Waiting[]): Promise<CommitResult[]> {
    const records = this.#records;
    const results: CommitResult[] = [];
    let operations = 0;
    for (const { batch } of group) {
      const bucket = records.bucket(batch.bucket);
      const before = bucket.generation().number;
      results.push(apply(bucket, this.options.metrics, batch));
      if (bucket.generation().number !== before) this.#purge.add(batch.bucket);
      operations += batch.operations.length;
    }
    this.#purgeMarks(PURGE_CHUNKS + Math.ceil(operations / PURGE_OPERATIONS));
    if (!records.changes.none) await this.#directory.commit(() => records.changes.write());
    records.settle();
    return results;
  }

  /** Removes old marks faster than operations can leave new ones. */
  #purgeMarks(limit: number): void {
    let left = limit;
    for (const number of this.#purge) {
      const removed = this.#records.bucket(number).purgeMarks(left);
      left -= removed;
      if (left === 0) return;
      this.#purge.delete(number);
    }
  }

  #announce(results: readonly CommitResult[]): void {
    const changed: PostCounts[] = [];
    for (const result of results) {
      if (result.kind !== 'applied') continue;
      for (const counts of result.changed) if (this.#watched.has(counts.post)) changed.push(counts);
    }
    if (changed.length > 0) this.#changes.next(changed);
  }
}
