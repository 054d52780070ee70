import { bucketOf } from '../../counters/bucket-of.js';
import type { Metrics } from '../../counters/metrics.js';
import type { RegionIncarnation } from '../../counters/pn-counter.js';
import type { ReplicationState } from '../../counters/replication/replication-state.js';
import type { MilestoneNews } from '../milestone-store.js';
import { CachedPost } from './cached-post.js';
import { ChangeRecords } from './change-records.js';
import type { DataDirectory } from './disk/data-directory.js';
import type { LmdbTables } from './disk/lmdb-environment.js';
import { END_OF_KEYS } from './disk/lmdb-table.js';
import { MemberTable } from './disk/member-table.js';
import { decodePost } from './disk/post-record.js';
import { RegisterTable } from './disk/register-table.js';
import { WriteSet } from './disk/write-set.js';
import { EmbeddedBucket } from './embedded-bucket.js';
import { RegisterExpiry } from './register-expiry.js';
import type { RegisterIndex } from './register-index.js';
import { UnsettledPosts } from './unsettled-posts.js';

/** Posts in each of the cache's two halves: a post with likes and views takes about a kilobyte of memory, so 40 MB. */
const POSTS_MAX = 20_000;
/** Chunks of members and marks in memory: about a kilobyte each, so 20 MB. */
const LOADED_CHUNKS_MAX = 20_000;

/**
 * The recently used values of the tables, decoded in memory. A group commit changes them there, then writes the changes. If that
 * fails, the cache is invalidated, and values are read again from the disk, where nothing has changed.
 *
 *     post, member, mark ──▶ in memory, changed ──▶ write() ──▶ LMDB's transaction ──▶ commitDone(), or another cache
 *                                 │ meanwhile readers get the values on disk
 */
export class RecordCache {
  readonly changes = new WriteSet();
  readonly tables: LmdbTables;
  readonly members: MemberTable;
  readonly registers: RegisterTable;
  readonly registerExpiry: RegisterExpiry;
  readonly changeRecords: ChangeRecords;
  /** Milestones that the running group has reached. */
  milestoneNews: MilestoneNews[] = [];
  readonly unsettled: UnsettledPosts;
  private readonly buckets: number;
  readonly metrics: Metrics;
  readonly peers: readonly string[];
  #recent = new Map<string, CachedPost>();
  #previous = new Map<string, CachedPost>();
  /** The post that was loaded last, because most operations load it several times. */
  #last: CachedPost | null = null;
  #buckets = new Map<number, EmbeddedBucket>();

  constructor(
    private readonly directory: Pick<DataDirectory, 'tables' | 'incarnations' | 'incarnation'>,
    {
      buckets,
      metrics,
      replication,
    }: {
      readonly buckets: number;
      readonly metrics: Metrics;
      readonly replication?: { readonly peers: readonly string[] };
    },
    /** By bucket; `null` where there are no other regions. They outlast the values in memory. */
    private readonly replicationStates: readonly ReplicationState[] | null,
    index: RegisterIndex,
  ) {
    const { changes } = this;
    this.buckets = buckets;
    this.metrics = metrics;
    this.peers = replication?.peers ?? [];
    this.tables = directory.tables;
    const { tables } = this;
    this.unsettled = new UnsettledPosts(tables.milestones, directory.incarnation.region);
    this.members = new MemberTable(tables.members, changes);
    this.registers = new RegisterTable(tables.registers, changes);
    this.registerExpiry = new RegisterExpiry(this, index, replicationStates, buckets);
    this.changeRecords = new ChangeRecords(buckets, {
      table: tables.changeRecords,
      changes,
      metricCount: metrics.list.length,
      incarnation: () => this.incarnation,
    });
  }

  get incarnations(): readonly RegionIncarnation[] {
    return this.directory.incarnations;
  }

  /** The own region's current incarnation. */
  get incarnation(): RegionIncarnation {
    return this.directory.incarnation;
  }

  getReplicationState(bucket: number): ReplicationState | null {
    return this.replicationStates?.[bucket] ?? null;
  }

  bucketOf(post: string): number {
    return bucketOf(post, this.buckets);
  }

  loadPost(id: string): CachedPost {
    if (this.#last?.id === id) return this.#last;
    let post = this.#recent.get(id);
    if (post === undefined) {
      post = this.#previous.get(id) ?? this.readPost(id);
      this.#recent.set(id, post);
    }
    this.#last = post;
    return post;
  }

  /** Reads a post as it is on disk, past the cache. */
  readPost(id: string): CachedPost {
    const bytes = this.tables.posts.get(id);
    const record = bytes && decodePost(bytes, this.incarnations);
    const empty = { state: { v: 0, updatedAtMs: 0, metrics: [] }, members: [] };
    return new CachedPost(id, record ?? empty, record !== undefined, this);
  }

  /** Reads a post as it is on disk, from the cache unless it is changed there. */
  readCommittedPost(id: string): CachedPost {
    // Not while something is changed, because values that leave the memory have to be on disk.
    if (this.changes.isEmpty) this.#evict();
    const post = this.loadPost(id);
    return post.isDirty ? this.readPost(id) : post;
  }

  /** Ids of posts after this one, in the order of the table, at most `limit`. */
  listPostsAfter(id: string, limit: number): string[] {
    return this.tables.posts.keys(id + '\0', END_OF_KEYS, limit);
  }

  openBucket(number: number): EmbeddedBucket {
    let bucket = this.#buckets.get(number);
    if (bucket === undefined) this.#buckets.set(number, (bucket = new EmbeddedBucket(number, this)));
    return bucket;
  }

  /** To be called when all changes are durable. @returns milestones that were reached with them */
  commitDone(): readonly MilestoneNews[] {
    this.changes.commitDone();
    this.#evict();
    const news = this.milestoneNews;
    if (news.length > 0) this.milestoneNews = [];
    return news;
  }

  #evict(): void {
    if (this.changes.loadedChunks > LOADED_CHUNKS_MAX) this.#clear();
    if (this.#recent.size < POSTS_MAX) return;
    this.#last = null;
    this.#previous = this.#recent;
    this.#recent = new Map();
  }

  #clear(): void {
    this.changes.loadedChunks = 0;
    this.#last = null;
    this.#recent = new Map();
    this.#previous = new Map();
    this.#buckets = new Map();
  }
}
