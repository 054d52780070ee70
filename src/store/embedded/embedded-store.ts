import { filter, map, NEVER, type Observable } from 'rxjs';
import { apply } from '../../counters/apply.js';
import type { Batch, CommitResult, PostCounts } from '../../counters/batch.js';
import { buildCounts, formatEpoch } from '../../counters/bucket.js';
import type { Key64 } from '../../counters/ids.js';
import type { Metrics } from '../../counters/metrics.js';
import type { ReplicationState } from '../../counters/replication/replication-state.js';
import type { ChangeStore } from '../change-store.js';
import type { PostView } from '../counter-store.js';
import type { StoreBehindLog } from '../store-behind-log.js';
import { WindowCheck } from '../window-check.js';
import { DataDirectory, type DataDirectoryOptions } from './disk/data-directory.js';
import { EmbeddedChangeStore } from './embedded-change-store.js';
import { EmbeddedMilestones } from './embedded-milestones.js';
import { EmbeddedReplication } from './embedded-replication.js';
import { GroupCommit } from './group-commit.js';
import { MarkPurge } from './mark-purge.js';
import { RecordCache } from './record-cache.js';
import { RegisterIndex } from './register-index.js';
import { readReplicationStates } from './read-replication-states.js';

export interface EmbeddedStoreOptions extends Omit<DataDirectoryOptions, 'metrics'> {
  readonly metrics: Metrics;
  /** With other regions: the wall time, milliseconds since 1970, and their names. */
  readonly replication?: { readonly wallMs: () => number; readonly peers: readonly string[] };
  /** Called once with what an operator has to mend. */
  readonly warn?: (message: string) => void;
}

/** Counters in LMDB, for one process. */
export class EmbeddedStore implements StoreBehindLog {
  readonly #directory: DataDirectory;
  /** By bucket; `null` where there are no other regions. Changed in place. */
  readonly #replicationStates: ReplicationState[] | null;
  readonly #purge: MarkPurge;
  readonly #commits: GroupCommit;
  readonly #watched = new Set<string>();
  readonly #windows: WindowCheck;
  #isDamageReported = false;

  readonly changes: Observable<readonly PostCounts[]>;
  readonly changeStore: ChangeStore;
  readonly milestones: EmbeddedMilestones;
  readonly replication: EmbeddedReplication | null;
  /** Never emits, because a durable commit is never lost. */
  readonly reconnected: Observable<void> = NEVER;
  readonly replayWindowMs = 0;

  /** @throws Error with one line that says what is wrong with the data directory. */
  constructor(private readonly options: EmbeddedStoreOptions) {
    const directory = DataDirectory.open({ ...options, metrics: options.metrics.toString() });
    this.#directory = directory;
    this.#replicationStates = options.replication === undefined ? null : [];
    this.#purge = new MarkPurge(options.buckets);
    this.#windows = new WindowCheck(options.metrics, (message) => options.warn?.(message));
    const openRecords = (): RecordCache => this.#openRecords();
    const reportDamage = (error: unknown): void => this.#reportDamage(error);
    this.#commits = new GroupCommit({ directory, openRecords, purge: this.#purge, reportDamage });
    this.changes = this.#commits.committed.pipe(
      // Decided after the sync, because viewers that came during it have read the state before the change.
      map((changed) => changed.filter(({ post }) => this.#watched.has(post))),
      filter((watched) => watched.length > 0),
    );
    if (this.#replicationStates !== null && directory.isNewIncarnation) {
      void this.#commits.enqueueWrite((records) => this.#persistReplication(records));
    }
    const reached = this.#commits.reached.pipe(
      map((news) => news.filter(({ post }) => this.#watched.has(post))),
      filter((watched) => watched.length > 0),
    );
    this.milestones = new EmbeddedMilestones(this.#commits, options.buckets, reached);
    this.changeStore = new EmbeddedChangeStore(this.#commits, options.buckets, options.metrics);
    this.replication =
      this.#replicationStates &&
      new EmbeddedReplication(this.#commits, directory, this.#replicationStates, options.metrics);
  }

  get description(): { readonly dataDir: string } {
    return { dataDir: this.options.path };
  }

  get available(): boolean {
    return this.#commits.available;
  }

  get allReachable(): boolean {
    return this.#commits.available;
  }

  commit(batch: Batch): Promise<CommitResult> {
    return this.#commits.enqueueWrite((records) => this.#apply(records, batch));
  }

  logPosition(log: string, bucket: number): Promise<number> {
    return this.#commits.readCommitted((records) => records.openBucket(bucket).logPosition(log));
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- LMDB reads at once; what it throws must reject
  async read(posts: readonly string[], actor: Key64 | null): Promise<PostView[]> {
    return posts.map((id) => this.#readPost(id, actor));
  }

  watch(post: string): void {
    this.#watched.add(post);
  }

  unwatch(post: string): void {
    this.#watched.delete(post);
  }

  /** Does nothing, because no other gateway shares the store. */
  reportViewers(): void {}

  async close(): Promise<void> {
    if (this.#replicationStates !== null) {
      await this.#commits.enqueueWrite((records) => this.#persistReplication(records, true));
    }
    await this.#commits.close();
    await this.#directory.close();
  }

  #openRecords(): RecordCache {
    const { buckets, replication } = this.options;
    const states = this.#replicationStates;
    if (states !== null) {
      states.splice(0, Infinity, ...readReplicationStates(this.#directory, buckets, replication!.wallMs()));
    }
    return new RecordCache(this.#directory, this.options, states, new RegisterIndex(buckets));
  }

  #persistReplication(records: RecordCache, exactClock = false): void {
    for (let number = 0; number < this.options.buckets; number++) {
      const bucket = records.openBucket(number);
      bucket.persistReplication();
      if (exactClock) bucket.persistExactClock();
    }
  }

  #readPost(id: string, actor: Key64 | null): PostView {
    const { metrics } = this.options;
    const { records } = this.#commits;
    const { exists, record } = records.readCommittedPost(id);
    const counts = buildCounts(id, formatEpoch(records.incarnation), exists ? record.state : undefined, metrics);
    let on = 0;
    if (actor !== null) {
      for (const { kind, index } of metrics.list) {
        const location = record.members[index];
        if (!kind.hasMembers || location === undefined) continue;
        if (records.members.has(id, index, location, actor)) on |= 1 << index;
      }
    }
    return { counts, on };
  }

  #apply(records: RecordCache, batch: Batch): CommitResult {
    const bucket = records.openBucket(batch.bucket);
    const before = bucket.markGenerations;
    const result = apply(bucket, this.options.metrics, batch);
    if (bucket.markGenerations !== before) {
      this.#purge.addBucket(batch.bucket);
      this.#windows.check(bucket.visitMarks.marksBefore);
    }
    this.#purge.countOperations(batch.operations.length);
    if (result.kind === 'applied') this.#commits.addChanged(result.changed);
    return result;
  }

  /** Warns once, because every retry of a batch that needs the damaged value fails again. */
  #reportDamage(error: unknown): void {
    if (this.#isDamageReported) return;
    this.#isDamageReported = true;
    const reason = error instanceof Error ? error.message : String(error);
    this.options.warn?.(
      `DATA_DIR ${this.options.path}: a value is damaged, and what needs it is not counted: ${reason}; restore it from a backup`,
    );
  }
}
