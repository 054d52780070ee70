import { compareIncarnations } from '../counters/pn-counter.js';
import type { CopyPosition } from '../counters/changed-posts.js';
import type { ChangePage, ChangeStore } from '../store/change-store.js';
import { decideCopy } from './copy-decision.js';
import { FullSyncRun } from './full-sync-run.js';
import type { BucketWrite, Sink } from './sink.js';

/** Changed posts of one bucket that are read at once. */
const PAGE_POSTS = 500;
/** Posts of one write. */
const WRITE_POSTS_MAX = 5_000;

export interface CopierEvents {
  /** A full sync of a bucket has begun. */
  fullSyncStarted(): void;
  written(posts: number): void;
}

/**
 * Brings one sink up to date, cycle by cycle. It holds nothing but positions: what is not written is read again.
 *
 *     positions ─▶ changes since ─▶ decide by bucket ─▶ write posts and positions ─▶ … until every bucket is complete
 *                                     │ full sync                   │ someone else wrote
 *                                     ▼                             ▼
 *                                 all posts, page by page       read the positions again
 */
export class Copier {
  /** `null`: to be read. */
  #positions: Map<number, CopyPosition> | null = null;
  /** Buckets that are not written any more, because the sink has what the store lacks. */
  readonly #halted = new Set<number>();
  #haltReason = '';
  #run: FullSyncRun | null = null;

  constructor(
    private readonly store: ChangeStore,
    private readonly sink: Sink,
    private readonly buckets: number,
    private readonly events: CopierEvents,
  ) {}

  get haltedBuckets(): number {
    return this.#halted.size;
  }

  /** Why the last one of them was halted, and what an operator can do. */
  get haltReason(): string {
    return this.#haltReason;
  }

  /** To be called after a cycle that failed, or when another gateway may have written. */
  reset(): void {
    this.#positions = null;
    this.#run = null;
    this.#halted.clear();
  }

  /**
   * Copies about one page of each bucket.
   * @returns whether the sink had everything at some time during the cycle, but for halted buckets
   * @throws SinkError, or an error of the store; then `reset` is to be called
   */
  async cycle(): Promise<boolean> {
    this.#positions ??= new Map(await this.sink.readPositions());
    if (this.#run !== null && !(await this.#write(await this.#run.nextPage()))) return this.#startAgain();
    const pages = await this.#readChanges();
    const writes = pages.map((page) => this.#take(page)).filter((write) => write !== null);
    if (!(await this.#write(writes))) return this.#startAgain();
    if (this.#run?.isEmpty === true) this.#run = null;
    return this.#run === null && pages.every(({ isComplete }) => isComplete);
  }

  #startAgain(): false {
    this.reset();
    return false;
  }

  #readChanges(): Promise<readonly ChangePage[]> {
    const requests = [];
    for (let bucket = 0; bucket < this.buckets; bucket++) {
      if (!this.#halted.has(bucket)) requests.push({ bucket, after: this.#after(bucket) });
    }
    return this.store.changesSince(requests, PAGE_POSTS);
  }

  #after(bucket: number): number {
    return this.#run?.upTo(bucket) ?? this.#positions!.get(bucket)?.upTo ?? 0;
  }

  #take(page: ChangePage): BucketWrite | null {
    const { bucket } = page;
    if (this.#run?.has(bucket) === true) return this.#run.take(page);
    const position = this.#positions!.get(bucket);
    switch (decideCopy(position, page)) {
      case 'halt':
        this.#halted.add(bucket);
        this.#haltReason = describeHalt(position!, page);
        return null;
      case 'full-sync':
        this.#planFullSync(page);
        return null;
      case 'changes':
        return buildWrite(position!, page);
    }
  }

  #planFullSync(page: ChangePage): void {
    // A run that has begun reads on first: the bucket asks again, and joins the next one.
    this.#run ??= new FullSyncRun(this.store, this.buckets);
    if (!this.#run.accepts) return;
    this.#run.add(page);
    this.events.fullSyncStarted();
  }

  /** @returns false: another gateway has written */
  async #write(writes: readonly BucketWrite[]): Promise<boolean> {
    for (const group of groupWrites(writes)) {
      if (!(await this.sink.write(group))) return false;
      for (const { bucket, position, posts } of group) {
        if (position !== null) this.#positions!.set(bucket, position);
        this.events.written(posts.length);
      }
    }
    return true;
  }
}

/** @returns `null`: the sink has all of it */
function buildWrite(before: CopyPosition, page: ChangePage): BucketWrite | null {
  const { bucket, starts, upTo, changedAtMs, posts, isComplete, sums } = page;
  const { epoch, nonce } = starts.at(-1)!;
  const isSame = before.upTo === upTo && compareIncarnations(before, { epoch, nonce }) === 'same';
  if (isSame && posts.length === 0) return null;
  const position = { epoch, nonce, upTo, changedAtMs };
  return { bucket, epoch, posts, position, sums: isComplete ? sums : null, endsFullSync: false };
}

function describeHalt({ changedAtMs }: CopyPosition, page: ChangePage): string {
  const ofStore =
    page.changedAtMs === 0 ? 'the store has recorded no change' : `the store's last is of ${toText(page.changedAtMs)}`;
  return (
    `halted: it has changes up to ${toText(changedAtMs)} that this store lacks (${ofStore}), so the store was emptied, restored from ` +
    'an old backup, or is that of another deployment. To bring the counts back: tallycast restore; to overwrite the sink with the ' +
    "store's counts: tallycast sink adopt"
  );
}

function toText(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

/** Groups of at most WRITE_POSTS_MAX posts, or of one write. */
function groupWrites(writes: readonly BucketWrite[]): BucketWrite[][] {
  const groups: BucketWrite[][] = [];
  let posts = Infinity;
  for (const write of writes) {
    if (posts + write.posts.length > WRITE_POSTS_MAX) {
      groups.push([]);
      posts = 0;
    }
    groups.at(-1)!.push(write);
    posts += write.posts.length;
  }
  return groups;
}
