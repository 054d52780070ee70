import { isDeepStrictEqual } from 'node:util';
import type { Redis } from 'ioredis';
import type { PostCounts } from '../../src/counters/batch.js';
import { type Member, STARTS_MAX } from '../../src/counters/changed-posts.js';
import { compareIncarnations, type Incarnation } from '../../src/counters/pn-counter.js';
import { decideCopy } from '../../src/sinks/copy-decision.js';
import type { SinkPosition } from '../../src/sinks/sink.js';
import type { ChangePage, ChangeStore } from '../../src/store/change-store.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import { toDecimalKey } from '../../src/store/redis/codec/key64-decimal.js';
import type { History } from './histories.js';

/** The store whose changes the copies read. */
export interface CopiedStore {
  readonly client: Redis;
  readonly history: History;
  readonly changes: Pick<ChangeStore, 'changesSince' | 'readAll' | 'readMembers' | 'checkMembers' | 'stopRecording'>;
  readonly counters: Pick<CounterStore, 'read'>;
}

/** Posts and members of a bucket. */
export interface BucketContents {
  readonly posts: Map<string, PostCounts>;
  /** Toggles that are on: `post metric actor`. */
  readonly members: Set<string>;
}

/** A full sync: all posts and members are read page by page, and then what has changed meanwhile. */
interface FullSync extends BucketContents {
  readonly incarnation: Incarnation;
  /** `null`: all posts were read. */
  cursor: string | null;
  /** Posts whose members are read next, from this cursor on; `null`: all their members were read. */
  membersOf: readonly string[];
  memberCursor: string | null;
  upTo: number;
}

export interface BucketCopyOptions {
  readonly bucket: number;
  readonly withMembers: boolean;
  /** Contents that the copy has when it is complete; without members if it gets none. */
  readonly readContents: () => Promise<BucketContents>;
}

/** A copy of one bucket's counts, with or without members, which has what it was sent and nothing else. */
export class BucketCopy {
  #contents: BucketContents = { posts: new Map(), members: new Set() };
  #position: SinkPosition | undefined;
  #sync: FullSync | null = null;
  /** When it last had everything: its posts then; `null` if the store has lost something since. Names of the posts sent since. */
  #completePosts: ReadonlyMap<string, PostCounts> | null = null;
  #sent = new Set<string>();
  #sentMembers: Member[] = [];
  /** Whether the store has lost something, or what was recorded, since the position was written. */
  #mayLack = false;

  constructor(
    private readonly store: CopiedStore,
    private readonly options: BucketCopyOptions,
  ) {}

  lose(): void {
    this.#mayLack = true;
    this.#completePosts = null;
  }

  /** Reads a page. @returns its sums and all counts of the store, if the copy has everything now, else `null` */
  async read(limit: number): Promise<{ sums: readonly number[]; counts: readonly PostCounts[] } | null> {
    const { bucket, withMembers, readContents } = this.options;
    if (this.#sync !== null) await this.#readSync(this.#sync, limit);
    const after = this.#sync?.upTo ?? this.#position?.upTo ?? 0;
    const [page] = await this.store.changes.changesSince([{ bucket, after }], { limit, withMembers });
    checkPage(page!, after);
    if (!(this.#sync === null ? this.#takeChanges(page!) : this.#takeSync(this.#sync, page!))) return null;
    const now = await readContents();
    this.#check(now);
    return { sums: page!.sums, counts: [...now.posts.values()] };
  }

  async #readSync(sync: FullSync, limit: number): Promise<void> {
    const { changes } = this.store;
    if (sync.memberCursor !== null) {
      const { members, next } = await changes.readMembers(sync.membersOf, sync.memberCursor, limit);
      for (const member of members) sync.members.add(toText(member));
      sync.memberCursor = next;
    } else if (sync.cursor !== null) {
      const { posts, next } = await changes.readAll(new Set([this.options.bucket]), sync.cursor, limit);
      for (const counts of posts) sync.posts.set(counts.post, counts);
      sync.cursor = next;
      sync.membersOf = posts.map(({ post }) => post);
      sync.memberCursor = this.options.withMembers && posts.length > 0 ? '' : null;
    }
  }

  #takeSync(sync: FullSync, page: ChangePage): boolean {
    const current = page.starts.at(-1)!;
    if (compareIncarnations(current, sync.incarnation) !== 'same' || sync.upTo < page.droppedUpTo) {
      this.#sync = null;
      return false;
    }
    this.#apply(sync, page);
    sync.upTo = page.upTo;
    if (!page.isComplete || sync.cursor !== null || sync.memberCursor !== null) return false;
    this.#contents = sync;
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
      const nothing = {
        posts: new Map<string, PostCounts>(),
        members: new Set<string>(),
        membersOf: [],
        memberCursor: null,
      };
      this.#sync = { ...nothing, incarnation: page.starts.at(-1)!, cursor: '', upTo: page.upTo };
      return false;
    }
    this.#apply(this.#contents, page);
    for (const { post } of page.posts) this.#sent.add(post);
    this.#sentMembers.push(...page.members);
    this.#moveTo(page);
    return page.isComplete;
  }

  #apply({ posts, members }: BucketContents, page: ChangePage): void {
    for (const counts of page.posts) posts.set(counts.post, counts);
    for (const { on, ...member } of page.members) {
      if (on) members.add(toText(member));
      else members.delete(toText(member));
    }
  }

  #moveTo({ starts, upTo, changedAtMs, isComplete }: ChangePage): void {
    const { epoch, nonce } = starts.at(-1)!;
    this.#position = { epoch, nonce, upTo, changedAtMs, isComplete };
    this.#mayLack = false;
  }

  /** @throws Error if the copy, which should have everything, has not, or was sent posts that had not changed */
  #check({ posts: now, members }: BucketContents): void {
    const { posts } = this.#contents;
    const differing = [...now].filter(([post, counts]) => !isAlike(counts, posts.get(post)));
    const surplus = [...posts.keys()].filter((post) => !now.has(post));
    if (differing.length + surplus.length > 0) {
      const about = differing.map(([post, counts]) => ({ counts, copy: posts.get(post) }));
      throw new Error(`a complete copy differs: ${JSON.stringify({ about: about.slice(0, 3), surplus })}`);
    }
    if (this.options.withMembers) this.#checkMembers(members);
    const before = this.#completePosts;
    const changed = [...now].filter(([post, { v }]) => before?.get(post)?.v !== v).map(([post]) => post);
    if (before !== null) this.#checkSent(changed);
    this.#completePosts = new Map(posts);
    this.#sent = new Set();
    this.#sentMembers = [];
  }

  #checkMembers(now: ReadonlySet<string>): void {
    const { members } = this.#contents;
    const missing = [...now].filter((member) => !members.has(member));
    const surplus = [...members].filter((member) => !now.has(member));
    if (missing.length + surplus.length === 0) return;
    throw new Error(`members of a complete copy: ${JSON.stringify({ missing, surplus }).slice(0, 1_000)}`);
  }

  #checkSent(changed: string[]): void {
    if (!isDeepStrictEqual([...this.#sent].sort(), changed.sort())) {
      throw new Error(`sent ${[...this.#sent].join(' ')} where ${changed.join(' ')} had changed`);
    }
    const posts = new Set(changed);
    const others = this.#sentMembers.filter(({ post }) => !posts.has(post));
    if (others.length > 0) throw new Error(`sent members of posts that had not changed: ${JSON.stringify(others)}`);
  }
}

/** The epoch of a copy is that of the last change, so it may be an earlier one. */
function isAlike(counts: PostCounts, copy: PostCounts | undefined): boolean {
  const { v, updatedAtMs, totals } = counts;
  return isDeepStrictEqual([v, updatedAtMs, totals], copy && [copy.v, copy.updatedAtMs, copy.totals]);
}

/** @throws Error if the page contradicts itself */
function checkPage({ posts, members, upTo, droppedUpTo, isComplete }: ChangePage, after: number): void {
  const names = new Set([...posts.map(({ post }) => post), ...members.map((member) => toText(member))]);
  const length = posts.length + members.length;
  const isDropped = after < droppedUpTo;
  const isConsistent = isDropped
    ? length === 0 && upTo === droppedUpTo && !isComplete
    : isComplete || (upTo > after && length > 0);
  if (names.size < length || !isConsistent) {
    throw new Error(
      `a page after ${after} with ${JSON.stringify({ upTo, droppedUpTo, isComplete, names: [...names] })}`,
    );
  }
}

function toText({ post, metric, actor }: Member): string {
  return `${post} ${metric} ${toDecimalKey(actor)}`;
}
