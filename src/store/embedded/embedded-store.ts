import { NEVER, type Observable, Subject } from 'rxjs';
import { apply } from '../../counters/apply.js';
import type { Batch, CommitResult, PostCounts } from '../../counters/batch.js';
import { buildCounts, formatEpoch } from '../../counters/bucket.js';
import type { Key64 } from '../../counters/ids.js';
import type { Metrics } from '../../counters/metrics.js';
import { newReplicationState, ReplicationState } from '../../counters/replication/replication-state.js';
import { firstStampAt } from '../../counters/replication/hybrid-clock.js';
import type { CounterStore, PostView } from '../counter-store.js';
import { DataDirectory, type DataDirectoryOptions } from './disk/data-directory.js';
import { EmbeddedReplication, type EmbeddedAccess } from './embedded-replication.js';
import { encodeBigEndian } from './disk/record-bytes.js';
import { RecordCache } from './record-cache.js';
import { runWrites, type QueuedWrite } from './queued-writes.js';
import { readReplicationState } from './disk/replication-record.js';
import { RegisterIndex } from './register-index.js';
import { END_OF_KEYS } from './disk/lmdb-table.js';

/** Chunks of old marks removed by one group commit, so that expiry never makes one long; … */
const PURGE_CHUNKS = 16;
/** … and one more for this many operations, a quarter of the marks in a chunk. */
const PURGE_OPERATIONS = 16;

export interface EmbeddedStoreOptions extends Omit<DataDirectoryOptions, 'metrics'> {
  readonly metrics: Metrics;
  /** With other regions: the wall time, ms since 1970. */
  readonly replication?: { readonly wallMs: () => number };
  /** Told once what an operator has to mend. */
  readonly warn?: (message: string) => void;
}

/**
 * Counters in LMDB, for one process. Group commit: the batches that come while a transaction is being synced share the
 * next one, so the cost of a sync is divided by whatever waits for it. A transaction that fails changes nothing.
 */
export class EmbeddedStore implements CounterStore {
  readonly #directory: DataDirectory;
  #records!: RecordCache;
  readonly #watched = new Set<string>();
  readonly #changes = new Subject<readonly PostCounts[]>();
  /** Buckets whose old marks are not all removed yet. */
  readonly #purge: Set<number>;
  #waiting: QueuedWrite[] = [];
  #looking: (() => void)[] = [];
  /** Of the group commit that is under way: its operations, and the posts that it changes. */
  #operations = 0;
  #changed: PostCounts[] = [];
  readonly #regionals: ReplicationState[] | null;
  #running: Promise<void> | null = null;
  #available = true;
  #isDamaged = false;

  readonly changes: Observable<readonly PostCounts[]> = this.#changes;
  /** What it does for other regions; `null` where there are none. */
  readonly replication: EmbeddedReplication | null;
  /** LMDB keeps what it has synced. */
  readonly reconnected: Observable<void> = NEVER;
  readonly replayWindowMs = 0;

  /** @throws Error with one line that says what is wrong with the data directory. */
  constructor(private readonly options: EmbeddedStoreOptions) {
    this.#directory = DataDirectory.open({ ...options, metrics: options.metrics.toString() });
    this.#regionals = options.replication === undefined ? null : this.#readRegionals(options.replication.wallMs());
    this.#records = this.#recordsOf();
    if (this.#regionals !== null && this.#directory.isNewIncarnation)
      void this.#write((records) => this.#keepRegionals(records));
    this.replication = this.#regionals && new EmbeddedReplication(this.#access(), this.#regionals);
    this.#purge = new Set(Array.from({ length: options.buckets }, (_, bucket) => bucket));
  }

  get description(): { readonly dataDir: string } {
    return { dataDir: this.options.path };
  }

  get available(): boolean {
    return this.#available;
  }

  get allReachable(): boolean {
    return this.#available;
  }

  commit(batch: Batch): Promise<CommitResult> {
    return this.#write((records) => this.#apply(records, batch));
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
  reportViewers(): void {}

  async close(): Promise<void> {
    if (this.#regionals !== null) await this.#write((records) => this.#keepClocks(records));
    await this.#running;
    this.#changes.complete();
    await this.#directory.close();
  }

  #readRegionals(wallMs: number): ReplicationState[] {
    const { replica, replicas, tables, isNewIncarnation: isNewLife } = this.#directory;
    // What was counted while there were no other regions has no stamps: it was before all that has.
    const startsAt = tables.posts.keys('', END_OF_KEYS, 1).length > 0 ? firstStampAt(wallMs) : 0;
    const before = replicas.findLast((life) => life.region === replica.region && life !== replica);
    return Array.from({ length: this.options.buckets }, (_, bucket) => {
      const known = readReplicationState(tables.regional, encodeBigEndian(bucket, 2));
      const regional = new ReplicationState(replica.region, known ?? newReplicationState(startsAt));
      if (known !== undefined && isNewLife && before !== undefined) regional.restart(before, wallMs);
      return regional;
    });
  }

  #keepRegionals(records: RecordCache): void {
    for (let bucket = 0; bucket < this.options.buckets; bucket++) records.bucket(bucket).persistReplication();
  }

  #keepClocks(records: RecordCache): void {
    this.#keepRegionals(records);
    for (let bucket = 0; bucket < this.options.buckets; bucket++) records.bucket(bucket).persistExactClock();
  }

  #access(): EmbeddedAccess {
    return {
      buckets: this.options.buckets,
      metrics: this.options.metrics,
      write: (change) => this.#write(change),
      look: (read) => this.#look(read),
      tell: (changed) => this.#tell(changed),
      known: (lives) => this.#directory.registerIncarnations(lives),
      beginLife: (epoch) => this.#directory.startIncarnation(epoch),
    };
  }

  #recordsOf(): RecordCache {
    return new RecordCache(
      this.#directory.tables,
      this.#directory,
      this.options.buckets,
      this.#regionals,
      new RegisterIndex(this.options.buckets),
    );
  }

  #view(id: string, actor: Key64 | null): PostView {
    const { metrics } = this.options;
    const records = this.#records;
    const { exists: known, record } = records.readCommittedPost(id);
    const counts = buildCounts(id, formatEpoch(records.incarnation), known ? record.state : undefined, metrics);
    let on = 0;
    if (actor !== null) {
      for (const { kind, index } of metrics.list) {
        const place = record.members[index];
        if (kind.hasMembers && place !== undefined && records.members.has(id, index, place, actor)) on |= 1 << index;
      }
    }
    return { counts, on };
  }

  #write<T>(change: (records: RecordCache) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ run: change, resolve: resolve as (result: unknown) => void, reject });
      this.#running ??= this.#run();
    });
  }

  #look<T>(read: (records: RecordCache) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        try {
          resolve(read(this.#records));
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      if (this.#running === null) look();
      else this.#looking.push(look);
    });
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
        for (const [{ resolve }, result] of results) resolve(result);
        this.#announce();
      } catch (error) {
        this.#available = false;
        // If that fails too, the next commit fails at once and tries again.
        await this.#directory.recover().catch(() => undefined);
        this.#forget();
        for (const { reject } of group) reject(error);
      }
      for (const look of this.#looking.splice(0)) look();
      // Lets those who were just answered send their next batches into the same group.
      await Promise.resolve();
    }
    this.#running = null;
    for (const look of this.#looking.splice(0)) look();
    // Who came in between found it running.
    for (const look of this.#looking.splice(0)) look();
  }

  async #commitGroup(group: readonly QueuedWrite[]): Promise<ReadonlyMap<QueuedWrite, unknown>> {
    const results = runWrites(group, (again) => this.#beginGroup(again), this.#failed);
    const records = this.#records;
    this.#purgeMarks(PURGE_CHUNKS + Math.ceil(this.#operations / PURGE_OPERATIONS));
    if (!records.changes.isEmpty) await this.#directory.commit(() => records.changes.write());
    records.commitDone();
    return results;
  }

  #beginGroup(again: boolean): RecordCache {
    this.#operations = 0;
    this.#changed = [];
    if (again) this.#forget();
    return this.#records;
  }

  /** Said once: what needs a value that is damaged is tried again and again. */
  readonly #failed = (error: unknown): void => {
    if (!this.#isDamaged) this.options.warn?.(damagedBy(this.options.path, error));
    this.#isDamaged = true;
  };

  #apply(records: RecordCache, batch: Batch): CommitResult {
    const bucket = records.bucket(batch.bucket);
    const before = bucket.markGeneration().number;
    const result = apply(bucket, this.options.metrics, batch);
    if (bucket.markGeneration().number !== before) this.#purge.add(batch.bucket);
    this.#operations += batch.operations.length;
    if (result.kind === 'applied') this.#tell(result.changed);
    return result;
  }

  #tell(changed: readonly PostCounts[]): void {
    for (const counts of changed) this.#changed.push(counts);
  }

  /** What is in memory was not committed: it is read again. */
  #forget(): void {
    if (this.#regionals !== null)
      this.#regionals.splice(0, Infinity, ...this.#readRegionals(this.options.replication!.wallMs()));
    this.#records = this.#recordsOf();
  }

  /** Removes old marks faster than operations can leave new ones. */
  #purgeMarks(limit: number): void {
    let left = limit;
    for (const number of this.#purge) {
      left -= this.#purgeMarksOf(number, left);
      if (left === 0) return;
      this.#purge.delete(number);
    }
  }

  #purgeMarksOf(number: number, limit: number): number {
    try {
      return this.#records.bucket(number).purgeMarks(limit);
    } catch {
      // Its own value is damaged: that is an error of its batches, and not of those that are committed now.
      return 0;
    }
  }

  /**
   * Decides here, and not when a change is applied, which posts are watched: who began to watch during the sync has read
   * the state before the change.
   */
  #announce(): void {
    const watched = this.#changed.filter(({ post }) => this.#watched.has(post));
    if (watched.length > 0) this.#changes.next(watched);
  }
}

function damagedBy(path: string, error: unknown): string {
  const what = error instanceof Error ? error.message : String(error);
  return `DATA_DIR ${path}: a value is damaged, and what needs it is not counted: ${what}; restore it from a backup`;
}
