import type { PostState } from '../../counters/bucket.js';
import { bucketOf } from '../../counters/ids.js';
import type { RegionIncarnation } from '../../counters/pn-counter.js';
import type { ReplicationState } from '../../counters/replication/replication-state.js';
import type { ByteWriter } from './disk/record-bytes.js';
import { type PendingWrite, WriteSet } from './disk/write-set.js';
import type { DataDirectory } from './disk/data-directory.js';
import { EmbeddedBucket } from './embedded-bucket.js';
import { MemberTable } from './disk/member-table.js';
import { decodePost, encodePost, locateMembers, type PostRecord } from './disk/post-record.js';
import { parseChunkKey, RegisterTable } from './disk/register-table.js';
import type { RegisterIndex } from './register-index.js';
import { END_OF_KEYS } from './disk/lmdb-table.js';
import type { LmdbTables } from './disk/tables.js';

/** Posts looked at in one go for registers, when all have to be. */
const SOUGHT_AT_ONCE = 1_000;
/** Posts in each of the cache's two halves: a post with likes and views takes about a kilobyte of memory, so 40 MB. */
const POSTS_MAX = 20_000;
/** Chunks of members and marks in memory: about a kilobyte each, so 20 MB. */
const CHUNKS_MAX = 20_000;

/** A post in memory. */
export class CachedPost implements PendingWrite {
  isDirty = false;

  constructor(
    readonly id: string,
    readonly record: PostRecord,
    /** Whether it was counted before, or is now. */
    public exists: boolean,
    private readonly records: RecordCache,
  ) {}

  set(state: PostState): void {
    this.record.state = state;
    this.exists = true;
    this.records.changes.add(this);
  }

  write(writer: ByteWriter): void {
    const { tables, incarnations: replicas } = this.records;
    tables.posts.put(this.id, encodePost(this.record, replicas, writer).value());
  }
}

/**
 * What the tables hold, decoded in memory as far as it was used lately. A group commit changes it there, then writes
 * what it changed; if that fails, all is forgotten and read again from the disk, where nothing has changed.
 *
 *     post, member, mark ──▶ in memory, changed ──▶ write() ──▶ LMDB's transaction ──▶ settle(), or forget()
 *                                 │ meanwhile readers see what is on disk instead
 */
export class RecordCache {
  readonly changes = new WriteSet();
  readonly members: MemberTable;
  readonly registers: RegisterTable;
  #young = new Map<string, CachedPost>();
  #old = new Map<string, CachedPost>();
  /** The one that was asked for last is asked for again at once. */
  #last: CachedPost | null = null;
  #buckets = new Map<number, EmbeddedBucket>();

  constructor(
    readonly tables: LmdbTables,
    private readonly directory: Pick<DataDirectory, 'replicas' | 'replica'>,
    private readonly buckets: number,
    /** By bucket; `null` where there are no other regions. They outlast what is kept in memory. */
    private readonly regionals: readonly ReplicationState[] | null,
    private readonly stampedPosts: RegisterIndex,
  ) {
    this.members = new MemberTable(tables.members, this.changes);
    this.registers = new RegisterTable(tables.registers, this.changes);
  }

  get incarnations(): readonly RegionIncarnation[] {
    return this.directory.replicas;
  }

  /** The own region's present life. */
  get incarnation(): RegionIncarnation {
    return this.directory.replica;
  }

  getReplicationState(openBucket: number): ReplicationState | null {
    return this.regionals?.[openBucket] ?? null;
  }

  loadPost(id: string): CachedPost {
    if (this.#last?.id === id) return this.#last;
    let post = this.#young.get(id);
    if (post === undefined) {
      post = this.#old.get(id) ?? this.#read(id);
      this.#young.set(id, post);
    }
    this.#last = post;
    return post;
  }

  /** Ids of posts after this one, in the order of the table, at most `limit`. */
  listPostsAfter(id: string, limit: number): string[] {
    return this.tables.posts.keys(id + '\0', END_OF_KEYS, limit);
  }

  /** As it is on disk. */
  readCommittedPost(id: string): CachedPost {
    // Not while something is changed: what falls out of memory must be on disk.
    if (this.changes.isEmpty) this.#tidy();
    const post = this.loadPost(id);
    return post.isDirty ? this.#read(id) : post;
  }

  bucket(number: number): EmbeddedBucket {
    let bucket = this.#buckets.get(number);
    if (bucket === undefined) this.#buckets.set(number, (bucket = new EmbeddedBucket(number, this)));
    return bucket;
  }

  /** The post's record holds a register of this stamp. */
  indexRegister(bucket: number, id: string, stamp: number): void {
    const other = this.stampedPosts.add(bucket, id, stamp);
    if (other === undefined) return;
    const post = this.loadPost(other);
    for (const [metric, { registers }] of post.record.members.entries()) {
      if (registers !== null) this.registers.flushInline(other, metric, registers);
    }
    this.changes.add(post);
  }

  /** The bucket's clock went back: what is noted of stamps that were ahead would keep registers until their time has come. */
  resetClock(bucket: number): void {
    this.stampedPosts.restart(bucket);
    this.bucket(bucket).persistExactClock();
  }

  /** Looks at the whole table: it is for what is rare. */
  listPostsWithRegisters(bucket: number): string[] {
    while (!this.findPostsWithRegisters(SOUGHT_AT_ONCE));
    const posts = new Set(this.stampedPosts.postsIn(bucket));
    const add = (post: string): void => {
      if (bucketOf(post, this.buckets) === bucket) posts.add(post);
    };
    for (const key of this.tables.registers.keys('', END_OF_KEYS, Infinity)) add(parseChunkKey(key).post);
    // What is not on disk yet.
    for (const change of this.changes.pending) if (change instanceof CachedPost) add(change.id);
    return [...posts];
  }

  /** Finds out which of the next `limit` posts hold registers since before the process was started. @returns whether that were all */
  findPostsWithRegisters(limit: number): boolean {
    const from = this.stampedPosts.scannedUpTo;
    if (from === null) return true;
    const ids = this.listPostsAfter(from, limit);
    for (const id of ids) {
      const newest = newestStamp(this.#read(id).record);
      if (newest > 0) this.indexRegister(bucketOf(id, this.buckets), id, newest);
    }
    this.stampedPosts.scannedUpTo = ids.length < limit ? null : ids.at(-1)!;
    return ids.length < limit;
  }

  /**
   * Drops registers that are not needed any more out of the records of posts of which nothing was said since.
   * @returns how many posts were looked at, at most `limit`
   */
  expireInline(limit: number): number {
    let looked = 0;
    for (const [bucket, { state }] of this.regionals!.entries()) {
      const taken = this.stampedPosts.takeUpTo(bucket, state.stableStamp, limit - looked);
      looked += taken.length;
      for (const id of taken) {
        const post = this.loadPost(id);
        const newest = newestStamp(post.record);
        if (newest > state.stableStamp) this.indexRegister(bucket, id, newest);
        else {
          for (const { registers } of post.record.members) registers?.inline.clear();
          this.changes.add(post);
          this.bucket(bucket).persistStableStamp();
        }
      }
    }
    return looked;
  }

  /**
   * Drops registers that are not needed any more out of the `limit` chunks after the key `after`.
   * @returns the key of the last one, `''` at the end of the table
   */
  expireChunks(after: string, limit: number): string {
    const keys = this.tables.registers.keys(after + '\0', END_OF_KEYS, limit);
    for (const key of keys) {
      const { post: id, metric, chunk } = parseChunkKey(key);
      const bucket = this.bucket(bucketOf(id, this.buckets));
      const post = this.loadPost(id);
      const { stableStamp: floor } = bucket.replication.state;
      const { registers } = locateMembers(post.record, metric);
      if (registers === null || !this.registers.expireChunk(id, metric, registers, chunk, floor)) continue;
      bucket.persistStableStamp();
      if (registers.chunks === 0) this.changes.add(post);
    }
    return keys.length < limit ? '' : keys.at(-1)!;
  }

  commitDone(): void {
    this.changes.commitDone();
    this.#tidy();
  }

  invalidate(): void {
    this.changes.commitDone();
    this.changes.loadedChunks = 0;
    this.#last = null;
    this.#young = new Map();
    this.#old = new Map();
    this.#buckets = new Map();
  }

  #tidy(): void {
    if (this.changes.loadedChunks > CHUNKS_MAX) this.invalidate();
    if (this.#young.size < POSTS_MAX) return;
    this.#last = null;
    this.#old = this.#young;
    this.#young = new Map();
  }

  #read(id: string): CachedPost {
    const bytes = this.tables.posts.get(id);
    const record = bytes && decodePost(bytes, this.incarnations);
    return new CachedPost(
      id,
      record ?? { state: { v: 0, updatedAtMs: 0, metrics: [] }, members: [] },
      record !== undefined,
      this,
    );
  }
}

/** Of the registers in the record; 0: it has none. */
function newestStamp({ members }: PostRecord): number {
  let newest = 0;
  for (const { registers } of members) {
    for (let i = 0; i < (registers?.inline.size ?? 0); i++) newest = Math.max(newest, registers!.inline.numberAt(i));
  }
  return newest;
}
