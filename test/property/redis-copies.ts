import { isDeepStrictEqual } from 'node:util';
import type { Redis } from 'ioredis';
import type { PostCounts } from '../../src/counters/batch.js';
import { STARTS_MAX, SUM_MODULUS } from '../../src/counters/changed-posts.js';
import { compareIncarnations, type Incarnation } from '../../src/counters/pn-counter.js';
import { decideCopy } from '../../src/sinks/copy-decision.js';
import type { SinkPosition } from '../../src/sinks/sink.js';
import type { ChangePage, ChangeStore } from '../../src/store/change-store.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import type { Random } from '../support/random.js';
import type { History } from './histories.js';
import { findRecordFaults } from './redis-change-record.js';

const COPIES_A_BUCKET = 2;
/** The second copy of a bucket reads rarely, so that it lacks much. */
const READS_RARELY = 0.1;
const LIMIT_MAX = 500;

/** The store whose changes the copies read. */
export interface CopiedStore {
  readonly client: Redis;
  readonly history: History;
  readonly changes: Pick<ChangeStore, 'changesSince' | 'readAll' | 'stopRecording'>;
  readonly counters: Pick<CounterStore, 'read'>;
}

/** A full sync: all posts are read page by page, and then what has changed meanwhile. */
interface FullSync {
  readonly incarnation: Incarnation;
  readonly posts: Map<string, PostCounts>;
  /** `null`: all posts were read. */
  cursor: string | null;
  upTo: number;
}

/** A copy of one bucket's counts, which has what it was sent and nothing else. */
class BucketCopy {
  #posts = new Map<string, PostCounts>();
  #position: SinkPosition | undefined;
  #sync: FullSync | null = null;
  /** When it last had everything: its posts then; `null` if the store has lost something since. Names of the posts sent since. */
  #completePosts: ReadonlyMap<string, PostCounts> | null = null;
  #sent = new Set<string>();
  /** Whether the store has lost something, or what was recorded, since the position was written. */
  #mayLack = false;

  constructor(
    private readonly bucket: number,
    private readonly store: CopiedStore,
    /** By post. */
    private readonly readCounts: (bucket: number) => Promise<ReadonlyMap<string, PostCounts>>,
  ) {}

  lose(): void {
    this.#mayLack = true;
    this.#completePosts = null;
  }

  /** Reads a page. @returns its sums and all counts of the store, if the copy has everything now, else `null` */
  async read(limit: number): Promise<{ sums: readonly number[]; counts: readonly PostCounts[] } | null> {
    if (this.#sync !== null) await this.#readPosts(this.#sync, limit);
    const after = this.#sync?.upTo ?? this.#position?.upTo ?? 0;
    const [page] = await this.store.changes.changesSince([{ bucket: this.bucket, after }], {
      limit,
      withMembers: false,
    });
    checkPage(page!, after);
    if (!(this.#sync === null ? this.#takeChanges(page!) : this.#takeSync(this.#sync, page!))) return null;
    const now = await this.readCounts(this.bucket);
    this.#check(now);
    return { sums: page!.sums, counts: [...now.values()] };
  }

  async #readPosts(sync: FullSync, limit: number): Promise<void> {
    if (sync.cursor === null) return;
    const { posts, next } = await this.store.changes.readAll(new Set([this.bucket]), sync.cursor, limit);
    for (const counts of posts) sync.posts.set(counts.post, counts);
    sync.cursor = next;
  }

  #takeSync(sync: FullSync, page: ChangePage): boolean {
    const current = page.starts.at(-1)!;
    if (compareIncarnations(current, sync.incarnation) !== 'same' || sync.upTo < page.droppedUpTo) {
      this.#sync = null;
      return false;
    }
    for (const counts of page.posts) sync.posts.set(counts.post, counts);
    sync.upTo = page.upTo;
    if (!page.isComplete || sync.cursor !== null) return false;
    this.#posts = sync.posts;
    this.#sync = null;
    this.#completePosts = null;
    this.#moveTo(page);
    return true;
  }

  #takeChanges(page: ChangePage): boolean {
    const decision = decideCopy(this.#position, page);
    if (decision !== 'changes') {
      const isDropped = (this.#position?.upTo ?? 0) < page.droppedUpTo;
      const isForgotten = decision === 'halt' && page.starts.length === STARTS_MAX;
      // Between two pages a copy may lack posts whose last change was lost.
      const isPartial = this.#position?.isComplete === false;
      if (!isDropped && !isForgotten && !isPartial && !this.#mayLack)
        throw new Error(`${decision}, and nothing was lost`);
      this.#sync = { incarnation: page.starts.at(-1)!, posts: new Map(), cursor: '', upTo: page.upTo };
      return false;
    }
    for (const counts of page.posts) {
      this.#posts.set(counts.post, counts);
      this.#sent.add(counts.post);
    }
    this.#moveTo(page);
    return page.isComplete;
  }

  #moveTo({ starts, upTo, changedAtMs, isComplete }: ChangePage): void {
    const { epoch, nonce } = starts.at(-1)!;
    this.#position = { epoch, nonce, upTo, changedAtMs, isComplete };
    this.#mayLack = false;
  }

  /** @throws Error if the copy, which should have everything, has not, or was sent posts that had not changed */
  #check(now: ReadonlyMap<string, PostCounts>): void {
    const differing = [...now].filter(([post, counts]) => !isAlike(counts, this.#posts.get(post)));
    const surplus = [...this.#posts.keys()].filter((post) => !now.has(post));
    if (differing.length + surplus.length > 0) {
      const about = differing.map(([post, counts]) => ({ counts, copy: this.#posts.get(post) }));
      throw new Error(`a complete copy differs: ${JSON.stringify({ about: about.slice(0, 3), surplus })}`);
    }
    const before = this.#completePosts;
    const changed = [...now].filter(([post, { v }]) => before?.get(post)?.v !== v).map(([post]) => post);
    if (before !== null && !isDeepStrictEqual([...this.#sent].sort(), changed.sort())) {
      throw new Error(`sent ${[...this.#sent].join(' ')} where ${changed.join(' ')} had changed`);
    }
    this.#completePosts = new Map(this.#posts);
    this.#sent = new Set();
  }
}

/** Copies of all buckets of a store, each of which reads at its own times. */
export class StoreCopies {
  #copies: readonly (readonly BucketCopy[])[];
  /** By bucket: the sums of all totals when recording began. */
  #bases = new Map<number, readonly bigint[]>();

  constructor(
    private readonly store: CopiedStore,
    private readonly random: Random,
  ) {
    this.#copies = this.#newCopies();
  }

  /** Lets a copy read a page, or until it has everything. */
  async step(): Promise<void> {
    const { random } = this;
    const bucket = random.below(this.#copies.length);
    const copy = this.#copies[bucket]![random.chance(READS_RARELY) ? 1 : 0]!;
    const limit = random.chance(0.5) ? 1 + random.below(10) : LIMIT_MAX;
    if (random.chance(0.5)) await this.#read(bucket, copy, limit);
    else await this.#complete(bucket, copy, limit);
  }

  /** @throws Error if a copy that has read all it gets lacks something */
  async check(): Promise<void> {
    for (const [bucket, copies] of this.#copies.entries()) {
      for (const copy of copies) await this.#complete(bucket, copy, LIMIT_MAX);
      const faults = await findRecordFaults(this.store.client, bucket, this.store.history.posts[bucket]!);
      if (faults.length > 0) throw new Error(`bucket ${bucket}: ${faults.join('; ')}`);
    }
  }

  async stopRecording(): Promise<void> {
    await this.store.changes.stopRecording();
    for (const copy of this.#copies.flat()) copy.lose();
  }

  /** To be passed to `lose` or `startAgain` when the store has the contents of now again. */
  backUp(): ReadonlyMap<number, readonly bigint[]> {
    return new Map(this.#bases);
  }

  lose(backup: ReadonlyMap<number, readonly bigint[]>): void {
    this.#bases = new Map(backup);
    for (const copy of this.#copies.flat()) copy.lose();
  }

  /** The same, and new copies: the old ones cannot know that something was lost, because another incarnation has the same name. */
  startAgain(backup: ReadonlyMap<number, readonly bigint[]>): void {
    this.#bases = new Map(backup);
    this.#copies = this.#newCopies();
  }

  #newCopies(): BucketCopy[][] {
    const readCounts = (bucket: number): Promise<Map<string, PostCounts>> => this.#readCounts(bucket);
    return Array.from({ length: this.store.history.shape.buckets }, (_, bucket) =>
      Array.from({ length: COPIES_A_BUCKET }, () => new BucketCopy(bucket, this.store, readCounts)),
    );
  }

  async #complete(bucket: number, copy: BucketCopy, limit: number): Promise<void> {
    while (!(await this.#read(bucket, copy, limit)));
  }

  async #read(bucket: number, copy: BucketCopy, limit: number): Promise<boolean> {
    const isRecording = await this.store.client.hexists(`tc:{${bucket}}`, 'changed_posts');
    if (isRecording === 0) this.#bases.set(bucket, this.#sumTotals([...(await this.#readCounts(bucket)).values()]));
    const complete = await copy.read(limit);
    if (complete === null) return false;
    const sums = complete.sums.map((sum, metric) => BigInt(sum) + this.#bases.get(bucket)![metric]!);
    const expected = this.#sumTotals(complete.counts);
    if (!sums.every((sum, metric) => (sum - expected[metric]!) % BigInt(SUM_MODULUS) === 0n)) {
      throw new Error(`bucket ${bucket}: the sums are ${sums.join()} instead of ${expected.join()}`);
    }
    return true;
  }

  #sumTotals(counts: readonly PostCounts[]): bigint[] {
    return this.store.history.shape.metrics.list.map(({ index }) =>
      counts.reduce((sum, { totals }) => sum + BigInt(totals[index]!), 0n),
    );
  }

  async #readCounts(bucket: number): Promise<Map<string, PostCounts>> {
    const views = await this.store.counters.read(this.store.history.posts[bucket]!, null);
    return new Map(views.filter(({ counts }) => counts.v > 0).map(({ counts }) => [counts.post, counts]));
  }
}

/** The epoch of a copy is that of the last change, so it may be an earlier one. */
function isAlike(counts: PostCounts, copy: PostCounts | undefined): boolean {
  const { v, updatedAtMs, totals } = counts;
  return isDeepStrictEqual([v, updatedAtMs, totals], copy && [copy.v, copy.updatedAtMs, copy.totals]);
}

/** @throws Error if the page contradicts itself */
function checkPage({ posts, upTo, droppedUpTo, isComplete }: ChangePage, after: number): void {
  const names = new Set(posts.map(({ post }) => post));
  const isDropped = after < droppedUpTo;
  const isConsistent = isDropped
    ? posts.length === 0 && upTo === droppedUpTo && !isComplete
    : isComplete || (upTo > after && posts.length > 0);
  if (names.size < posts.length || !isConsistent) {
    throw new Error(
      `a page after ${after} with ${JSON.stringify({ upTo, droppedUpTo, isComplete, posts: [...names] })}`,
    );
  }
}
