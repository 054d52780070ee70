import { type Observable, Subject } from 'rxjs';
import type { PostCounts } from '../../counters/batch.js';
import type { MilestoneNews } from '../milestone-store.js';
import type { DataDirectory } from './disk/data-directory.js';
import type { MarkPurge } from './mark-purge.js';
import { type QueuedWrite, runWrites } from './run-writes.js';
import type { RecordCache } from './record-cache.js';

export interface GroupCommitOptions {
  readonly directory: DataDirectory;
  /** Opens the cache on what is committed: at first, and where changes in memory have to be dropped. */
  readonly openRecords: () => RecordCache;
  readonly purge: MarkPurge;
  /** Called with the error of each write that fails because a value that it needs is damaged. */
  readonly reportDamage: (error: unknown) => void;
}

/**
 * Group commit: the writes that come while a transaction is being made durable share the next one, and with it the cost of an
 * fsync. A transaction that fails changes nothing.
 */
export class GroupCommit {
  #records: RecordCache;
  #writes: QueuedWrite[] = [];
  #reads: (() => void)[] = [];
  /** Posts that the running group has changed. */
  #changed: PostCounts[] = [];
  #running: Promise<void> | null = null;
  #isAvailable = true;
  readonly #committed = new Subject<readonly PostCounts[]>();
  readonly #reached = new Subject<readonly MilestoneNews[]>();

  /** Every change of a post, by operations and by deltas, once it is durable. */
  readonly committed: Observable<readonly PostCounts[]> = this.#committed;
  /** Milestones that operations have reached, once the operations are durable. */
  readonly reached: Observable<readonly MilestoneNews[]> = this.#reached;

  constructor(private readonly options: GroupCommitOptions) {
    this.#records = options.openRecords();
  }

  /** The cache, with uncommitted changes in it while a group runs. */
  get records(): RecordCache {
    return this.#records;
  }

  /** Whether the last transaction went through. */
  get available(): boolean {
    return this.#isAvailable;
  }

  /** Runs `run` within the next group. Resolves when what it has changed is durable. */
  enqueueWrite<T>(run: (records: RecordCache) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#writes.push({ run, resolve: resolve as (result: unknown) => void, reject });
      this.#running ??= this.#run();
    });
  }

  /** Runs `read` when everything in memory is committed. */
  readCommitted<T>(read: (records: RecordCache) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = (): void => {
        try {
          resolve(read(this.#records));
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      if (this.#running === null) run();
      else this.#reads.push(run);
    });
  }

  /** To be called by a write with the posts that it has changed: each change of a post passes here. */
  addChanged(changed: readonly PostCounts[]): void {
    for (const counts of changed) this.#changed.push(counts);
  }

  async close(): Promise<void> {
    await this.#running;
    this.#committed.complete();
    this.#reached.complete();
  }

  async #run(): Promise<void> {
    // Batches of all buckets that are flushed in one turn of the event loop go into one transaction.
    await Promise.resolve();
    while (this.#writes.length > 0) {
      const group = this.#writes;
      this.#writes = [];
      try {
        const { results, reached } = await this.#commit(group);
        this.#isAvailable = true;
        for (const [{ resolve }, result] of results) resolve(result);
        if (this.#changed.length > 0) this.#committed.next(this.#changed);
        if (reached.length > 0) this.#reached.next(reached);
      } catch (error) {
        this.#isAvailable = false;
        // If that fails too, the next commit fails at once and tries again.
        await this.options.directory.recover().catch(() => undefined);
        this.#invalidateCache();
        for (const { reject } of group) reject(error);
      }
      this.#runReads();
      // Lets callers whose writes were just committed send their next batches into the same group.
      await Promise.resolve();
    }
    this.#running = null;
    this.#runReads();
    // Reads that were queued by those reads, while `#running` was still set.
    this.#runReads();
  }

  async #commit(
    group: readonly QueuedWrite[],
  ): Promise<{ results: ReadonlyMap<QueuedWrite, unknown>; reached: readonly MilestoneNews[] }> {
    const { directory, purge, reportDamage } = this.options;
    const results = runWrites(group, (isRetry) => this.#beginGroup(isRetry), reportDamage);
    const records = this.#records;
    purge.purge(records);
    if (!records.changes.isEmpty) await directory.commit(() => records.changes.write());
    return { results, reached: records.commitDone() };
  }

  #beginGroup(isRetry: boolean): RecordCache {
    this.#changed = [];
    if (isRetry) this.#invalidateCache();
    return this.#records;
  }

  /** Drops what is in memory, because it was not committed. */
  #invalidateCache(): void {
    this.#records = this.options.openRecords();
  }

  #runReads(): void {
    for (const run of this.#reads.splice(0)) run();
  }
}
