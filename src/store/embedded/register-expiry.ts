import { bucketOf } from '../../counters/bucket-of.js';
import type { ReplicationState } from '../../counters/replication/replication-state.js';
import { CachedPost } from './cached-post.js';
import type { LmdbTables } from './disk/lmdb-environment.js';
import { END_OF_KEYS } from './disk/lmdb-table.js';
import { locateMembers, type PostRecord } from './disk/post-record.js';
import { parseChunkKey, type RegisterTable } from './disk/register-table.js';
import type { WriteSet } from './disk/write-set.js';
import type { RegisterIndex } from './register-index.js';

/** Posts whose records are read at once where all of them have to be searched for registers. */
const SEARCHED_AT_ONCE = 1_000;

/** The part of the cache that expiry uses. */
interface ExpiringRecords {
  readonly tables: LmdbTables;
  readonly changes: WriteSet;
  readonly registers: RegisterTable;
  loadPost(id: string): CachedPost;
  /** Reads a post past the cache. */
  readPost(id: string): CachedPost;
  listPostsAfter(id: string, limit: number): string[];
  openBucket(number: number): { persistStableStamp(): void; persistExactClock(): void };
}

/**
 * Finds and drops stable registers: those whose stamps are at or below the stable stamp of their bucket. They stand in the records of
 * their posts, which the index lists, or in chunks, which are visited in the order of their keys.
 */
export class RegisterExpiry {
  constructor(
    private readonly records: ExpiringRecords,
    private readonly index: RegisterIndex,
    /** By bucket; `null` where there are no other regions. */
    private readonly states: readonly ReplicationState[] | null,
    private readonly buckets: number,
  ) {}

  /** To be called when a post's record gets a register of this stamp. */
  indexRegister(bucket: number, id: string, stamp: number): void {
    const evicted = this.index.add(bucket, id, stamp);
    if (evicted === undefined) return;
    const post = this.records.loadPost(evicted);
    for (const [metric, { registers }] of post.record.members.entries()) {
      if (registers !== null) this.records.registers.flushInline(evicted, metric, registers);
    }
    this.records.changes.add(post);
  }

  /** To be called when the bucket's clock went back: indexed stamps that were ahead would keep registers until their time has come. */
  resetClock(bucket: number): void {
    this.index.restart(bucket);
    this.records.openBucket(bucket).persistExactClock();
  }

  /** Searches the whole table, which only rare events need. */
  listPostsWithRegisters(bucket: number): string[] {
    while (!this.findPostsWithRegisters(SEARCHED_AT_ONCE));
    const posts = new Set(this.index.postsIn(bucket));
    const add = (post: string): void => {
      if (bucketOf(post, this.buckets) === bucket) posts.add(post);
    };
    for (const key of this.records.tables.registers.keys('', END_OF_KEYS, Infinity)) add(parseChunkKey(key).post);
    // Posts that are not on disk yet.
    for (const change of this.records.changes.pending) if (change instanceof CachedPost) add(change.id);
    return [...posts];
  }

  /**
   * Searches the records of the next `limit` posts for registers that they hold since before the process was started.
   * @returns whether the search is complete
   */
  findPostsWithRegisters(limit: number): boolean {
    const from = this.index.scannedUpTo;
    if (from === null) return true;
    const ids = this.records.listPostsAfter(from, limit);
    for (const id of ids) {
      const newest = newestStamp(this.records.readPost(id).record);
      if (newest > 0) this.indexRegister(bucketOf(id, this.buckets), id, newest);
    }
    this.index.scannedUpTo = ids.length < limit ? null : ids.at(-1)!;
    return ids.length < limit;
  }

  /**
   * Drops stable registers out of the records of posts without a newer one.
   * @returns how many posts were checked, at most `limit`
   */
  expireInline(limit: number): number {
    let checked = 0;
    for (const [bucket, { state }] of this.states!.entries()) {
      const ids = this.index.takeUpTo(bucket, state.stableStamp, limit - checked);
      checked += ids.length;
      for (const id of ids) this.#expirePost(bucket, id, state.stableStamp);
    }
    return checked;
  }

  /**
   * Drops stable registers out of the `limit` chunks after the key `after`.
   * @returns the key of the last one, `''` at the end of the table
   */
  expireChunks(after: string, limit: number): string {
    const keys = this.records.tables.registers.keys(after + '\0', END_OF_KEYS, limit);
    for (const key of keys) {
      const { post: id, metric, chunk } = parseChunkKey(key);
      const bucket = bucketOf(id, this.buckets);
      const post = this.records.loadPost(id);
      const { stableStamp } = this.states![bucket]!.state;
      const { registers } = locateMembers(post.record, metric);
      if (registers === null || !this.records.registers.expireChunk(id, metric, registers, chunk, stableStamp))
        continue;
      this.records.openBucket(bucket).persistStableStamp();
      if (registers.chunks === 0) this.records.changes.add(post);
    }
    return keys.length < limit ? '' : keys.at(-1)!;
  }

  #expirePost(bucket: number, id: string, stableStamp: number): void {
    const post = this.records.loadPost(id);
    const newest = newestStamp(post.record);
    if (newest > stableStamp) {
      this.indexRegister(bucket, id, newest);
      return;
    }
    for (const { registers } of post.record.members) registers?.inline.clear();
    this.records.changes.add(post);
    this.records.openBucket(bucket).persistStableStamp();
  }
}

/** The newest stamp of the registers in the record; 0: it has none. */
function newestStamp({ members }: PostRecord): number {
  let newest = 0;
  for (const { registers } of members) {
    for (let i = 0; i < (registers?.inline.size ?? 0); i++) newest = Math.max(newest, registers!.inline.numberAt(i));
  }
  return newest;
}
