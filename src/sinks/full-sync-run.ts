import { groupBy } from '../common/grouping.js';
import type { PostCounts } from '../counters/batch.js';
import { bucketOf } from '../counters/bucket-of.js';
import { type Member, NOT_SYNCED } from '../counters/changed-posts.js';
import type { PostMilestone } from '../counters/milestones.js';
import { compareIncarnations, type Incarnation } from '../counters/pn-counter.js';
import type { ChangePage, ChangeStore, CountsPage, MemberState } from '../store/change-store.js';
import type { BucketWrite } from './sink.js';

/** Posts, and members, of a page. The changes of all buckets are written with each page, so that a long run does not fall behind them. */
const PAGE_POSTS = 500;
const PAGE_MEMBERS = 1_000;

interface SyncedBucket {
  /** The bucket's incarnation when the run began. */
  readonly incarnation: Incarnation;
  /** The sink has what changed up to this seq since the run began. */
  upTo: number;
  /** Whether something was written in the run. */
  hasBegun: boolean;
  /** Posts that changed, with members only. Some may have been created after their place was read, so that no page has them. */
  readonly changedPosts: Set<string>;
}

/** Posts and members of one bucket that were read and not yet written. */
interface SyncedPage {
  readonly posts: readonly PostCounts[];
  readonly members: readonly Member[];
  readonly milestones: readonly PostMilestone[];
  /** Posts whose last members these are. */
  readonly postsWithAllMembers: readonly string[];
}

const NOTHING: SyncedPage = { posts: [], members: [], milestones: [], postsWithAllMembers: [] };
const NO_POSTS: Omit<CountsPage, 'next'> = { posts: [], milestones: [] };

/**
 * Full syncs of some buckets at once. All their posts are read page by page while their changes go on, each page of posts with its
 * members, which may take more pages; the first complete page of changes after the last page of posts ends the full sync of its bucket.
 * Changes are read after each page of posts, so if they are of the same incarnation as before, so are the posts.
 */
export class FullSyncRun {
  readonly #buckets = new Map<number, SyncedBucket>();
  /** The buckets whose posts are read, all that were added: a cursor is valid for these. `null`: no page was read yet. */
  #readBuckets: ReadonlySet<number> | null = null;
  #cursor: string | null = '';
  /** The posts whose members are being read. */
  #posts: readonly string[] = [];
  /** Cursor of the next page of their members; `null`: all were read. */
  #memberCursor: string | null = null;
  /** By bucket: the last page. */
  #page = new Map<number, SyncedPage>();

  constructor(
    private readonly store: Pick<ChangeStore, 'readAll' | 'readMembers'>,
    private readonly bucketCount: number,
    private readonly withMembers: boolean,
  ) {}

  get isEmpty(): boolean {
    return this.#buckets.size === 0;
  }

  /** Whether buckets may be added: no page was read yet. */
  get accepts(): boolean {
    return this.#readBuckets === null;
  }

  /** Adds a bucket, at most once, while the run accepts some. */
  add({ bucket, starts, upTo }: ChangePage): void {
    this.#buckets.set(bucket, { incarnation: starts.at(-1)!, upTo, hasBegun: false, changedPosts: new Set() });
  }

  has(bucket: number): boolean {
    return this.#buckets.has(bucket);
  }

  /** The seq after which the bucket's next changes are to be read; `undefined`: it is not in the run. */
  upTo(bucket: number): number | undefined {
    return this.#buckets.get(bucket)?.upTo;
  }

  /** Reads the next page of posts or members. Then the changes of all buckets are to be read, and taken. */
  async readPage(): Promise<void> {
    this.#page = new Map();
    if (this.#isRead || this.isEmpty) return;
    const counts = this.#memberCursor === null ? await this.#readPosts() : NO_POSTS;
    const members = this.#memberCursor === null ? [] : await this.#readMembers(this.#memberCursor);
    const complete = this.withMembers && this.#memberCursor === null ? this.#posts : [];
    this.#page = this.#byBucket(counts, members, complete);
  }

  async #readPosts(): Promise<Omit<CountsPage, 'next'>> {
    this.#readBuckets ??= new Set(this.#buckets.keys());
    const { posts, milestones, next } = await this.store.readAll(this.#readBuckets, this.#cursor!, PAGE_POSTS);
    this.#cursor = next;
    this.#posts = posts.map(({ post }) => post);
    if (this.withMembers && posts.length > 0) this.#memberCursor = '';
    return { posts, milestones };
  }

  async #readMembers(cursor: string): Promise<readonly Member[]> {
    const { members, next } = await this.store.readMembers(this.#posts, cursor, PAGE_MEMBERS);
    this.#memberCursor = next;
    return members;
  }

  /** Whether all posts and members were read. */
  get #isRead(): boolean {
    return this.#cursor === null && this.#memberCursor === null;
  }

  #byBucket(
    { posts, milestones }: Omit<CountsPage, 'next'>,
    members: readonly Member[],
    postsWithAllMembers: readonly string[],
  ): Map<number, SyncedPage> {
    const getBucket = ({ post }: { readonly post: string }): number => bucketOf(post, this.bucketCount);
    const postsOf = groupBy(posts, getBucket);
    const membersOf = groupBy(members, getBucket);
    const milestonesOf = groupBy(milestones, getBucket);
    const completeOf = groupBy(postsWithAllMembers, (post) => bucketOf(post, this.bucketCount));
    const buckets = [...new Set([...postsOf.keys(), ...membersOf.keys(), ...completeOf.keys()])];
    return new Map(
      buckets.map((bucket) => [
        bucket,
        {
          posts: postsOf.get(bucket) ?? [],
          members: membersOf.get(bucket) ?? [],
          milestones: milestonesOf.get(bucket) ?? [],
          postsWithAllMembers: completeOf.get(bucket) ?? [],
        },
      ]),
    );
  }

  /**
   * Takes changes of a bucket that is in the run.
   * @returns their write, with the bucket's posts of the page; `null`: there is nothing to write, or the run of this bucket is void,
   * because its incarnation is over or changes were dropped
   */
  take(changes: ChangePage): BucketWrite | null {
    const { bucket, starts, isComplete, upTo, changedAtMs, sums, droppedUpTo } = changes;
    const synced = this.#buckets.get(bucket)!;
    const { epoch, nonce } = starts.at(-1)!;
    if (compareIncarnations({ epoch, nonce }, synced.incarnation) !== 'same' || synced.upTo < droppedUpTo) {
      this.#buckets.delete(bucket);
      return null;
    }
    synced.upTo = upTo;
    const endsFullSync = isComplete && this.#isRead;
    if (endsFullSync) this.#buckets.delete(bucket);
    const page = this.#page.get(bucket) ?? NOTHING;
    this.#page.delete(bucket);
    const posts = newestPosts(page.posts, changes.posts);
    const members = newestMembers(page.members, changes.members);
    const milestones = [...page.milestones, ...changes.milestones];
    const postsWithAllMembers = this.#postsWithAllMembers(synced, page, changes, endsFullSync);
    const rowCount = posts.length + members.length + milestones.length + postsWithAllMembers.length;
    if (rowCount === 0 && !endsFullSync) return null;
    const startsFullSync = !synced.hasBegun;
    synced.hasBegun = true;
    const position = { epoch, nonce, upTo: endsFullSync ? upTo : NOT_SYNCED, changedAtMs };
    const rows = { posts, members, milestones, postsWithAllMembers };
    return { bucket, epoch, ...rows, position, sums: endsFullSync ? sums : null, startsFullSync, endsFullSync };
  }

  /**
   * Those of the page; at the end those that changed, too: one that the store had lost, and that was created again after its place was
   * read, has other members in the sink.
   */
  #postsWithAllMembers(
    { changedPosts }: SyncedBucket,
    { postsWithAllMembers }: SyncedPage,
    { posts }: ChangePage,
    endsFullSync: boolean,
  ): readonly string[] {
    if (!this.withMembers) return [];
    for (const { post } of posts) changedPosts.add(post);
    for (const post of postsWithAllMembers) changedPosts.delete(post);
    return endsFullSync ? [...postsWithAllMembers, ...changedPosts] : postsWithAllMembers;
  }
}

/** Each member once, as it was read last. */
function newestMembers(read: readonly Member[], changed: readonly MemberState[]): readonly MemberState[] {
  if (read.length === 0) return changed;
  const on = read.map((member) => ({ ...member, on: true }));
  return [...new Map([...on, ...changed].map((member) => [toMapKey(member), member])).values()];
}

function toMapKey({ post, metric, actor }: Member): string {
  return `${post} ${metric} ${actor.hi} ${actor.lo}`;
}

/** Each post once, as it was read last. */
function newestPosts(before: readonly PostCounts[], after: readonly PostCounts[]): PostCounts[] {
  return [...new Map([...before, ...after].map((counts) => [counts.post, counts])).values()];
}
