import { STARTS_MAX } from '../counters/changed-posts.js';
import { compareIncarnations } from '../counters/pn-counter.js';
import type { ChangePage, ChangeStore } from '../store/change-store.js';
import { decideCopy, decideStoredCopy } from './copy-decision.js';
import { FullSyncRun } from './full-sync-run.js';
import { type BucketWrite, type Sink, SinkError, type SinkPosition } from './sink.js';
import { WriteSize } from './write-size.js';

/** Changed posts and members of one bucket that are read at once. */
const PAGE_CHANGES = 500;
/**
 * Cycles that a full sync waits at most before it reads its next page. In one of its buckets more may change all the time than is read at
 * once, and the others must not wait for it forever.
 */
const RUN_WAIT_MAX = 10;

/** Rules of copying. Tests plant other ones to see that they would be found. */
export interface CopyRules {
  readonly decide: typeof decideCopy;
  readonly startFullSync: (store: ChangeStore, buckets: number, withMembers: boolean) => FullSyncRun;
}

export const COPY_RULES: CopyRules = {
  decide: decideCopy,
  startFullSync: (store, buckets, withMembers) => new FullSyncRun(store, buckets, withMembers),
};

export interface CopierOptions {
  readonly buckets: number;
  /** Whether this gateway may still write to the sink. */
  readonly mayWrite: () => boolean;
  /** A full sync of a bucket has begun. */
  readonly fullSyncStarted: () => void;
  readonly written: (posts: number) => void;
}

/**
 * How far a cycle came. `current`: the sink had everything at some time during it, but for halted buckets. `behind`: there is more to
 * copy. `overtaken`: another gateway writes, or may.
 */
export type CycleResult = 'current' | 'behind' | 'overtaken';

/**
 * Brings one sink up to date, cycle by cycle. It holds nothing but positions and a page of posts: what is not written is read again.
 *
 *     positions ─▶ changes since ─▶ decide by bucket ─▶ write posts and positions ─▶ … until every bucket is complete
 *                    ▲                │ full sync                   │ someone else wrote
 *                    │                ▼                             ▼
 *                  a page of the posts of the bucket          read the positions again
 */
export class Copier {
  /** `null`: to be read. */
  #positions: Map<number, SinkPosition> | null = null;
  /** Buckets that are not written any more, because the sink has what the store lacks. */
  readonly #halted = new Set<number>();
  #haltReason = '';
  #run: FullSyncRun | null = null;
  /** For this many cycles changes of its buckets have waited, which come before its next page: else many changes would overtake it. */
  #runWaits = 0;
  readonly #writeSize = new WriteSize();
  readonly #decide: CopyRules['decide'];

  constructor(
    private readonly store: ChangeStore,
    private readonly sink: Sink,
    private readonly options: CopierOptions,
    private readonly rules: CopyRules = COPY_RULES,
  ) {
    this.#decide = sink.keepsPositions ? rules.decide : decideStoredCopy;
  }

  get haltedBuckets(): number {
    return this.#halted.size;
  }

  /** Why the last one of them was halted, and what an operator can do. */
  get haltReason(): string {
    return this.#haltReason;
  }

  /** Whether a full sync goes on. */
  get isSyncing(): boolean {
    return this.#run?.isEmpty === false;
  }

  /** Begins again from the positions of the sink: after a cycle that failed, or when another gateway may have written. */
  reset(): void {
    this.#positions = null;
    this.#run = null;
    this.#runWaits = 0;
    this.#halted.clear();
  }

  /**
   * Copies about one page of each bucket.
   * @throws SinkError, or an error of the store; then `reset` is to be called
   */
  async cycle(): Promise<CycleResult> {
    this.#positions ??= new Map(await this.sink.readPositions());
    if (this.#run?.isEmpty === true) this.#run = null;
    if (this.#runWaits % RUN_WAIT_MAX === 0) await this.#run?.readPage();
    const pages = await this.#readChanges();
    const isInRun = ({ bucket }: ChangePage): boolean => this.#run?.has(bucket) === true;
    const pagesOfRun = pages.filter(isInRun);
    const writes = pages.map((page) => this.#take(page)).filter((write) => write !== null);
    const isRunBehind = pagesOfRun.some((page) => !page.isComplete && isInRun(page));
    this.#runWaits = isRunBehind ? this.#runWaits + 1 : 0;
    if (!(await this.#write(writes))) {
      this.reset();
      return 'overtaken';
    }
    return this.#run === null && pages.every(({ isComplete }) => isComplete) ? 'current' : 'behind';
  }

  async #readChanges(): Promise<readonly ChangePage[]> {
    const { keepsMembers } = this.sink;
    const options = { limit: PAGE_CHANGES, withMembers: keepsMembers };
    const pages = await this.store.changesSince(this.#buildRequests(), options);
    // Another copy may have members.
    return keepsMembers ? pages : pages.map((page) => ({ ...page, members: [] }));
  }

  #buildRequests(): { bucket: number; after: number }[] {
    const requests = [];
    for (let bucket = 0; bucket < this.options.buckets; bucket++) {
      if (!this.#halted.has(bucket)) requests.push({ bucket, after: this.#after(bucket) });
    }
    return requests;
  }

  #after(bucket: number): number {
    return this.#run?.upTo(bucket) ?? this.#positions!.get(bucket)?.upTo ?? 0;
  }

  #take(page: ChangePage): BucketWrite | null {
    const { bucket } = page;
    if (this.#run?.has(bucket) === true) return this.#run.take(page);
    const position = this.#positions!.get(bucket);
    switch (this.#decide(position, page)) {
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
    this.#run ??= this.rules.startFullSync(this.store, this.options.buckets, this.sink.keepsMembers);
    if (!this.#run.accepts) return;
    this.#run.add(page);
    this.options.fullSyncStarted();
  }

  /** @returns false: another gateway has written, or may */
  async #write(writes: readonly BucketWrite[]): Promise<boolean> {
    const { mayWrite } = this.options;
    for (const group of this.#writeSize.group(writes)) {
      if (!mayWrite() || !(await this.#writeGroup(group))) return false;
      for (const { bucket, position, posts, sums } of group) {
        this.#positions!.set(bucket, { ...position, isComplete: sums !== null });
        this.options.written(posts.length);
      }
    }
    return true;
  }

  async #writeGroup(group: readonly BucketWrite[]): Promise<boolean> {
    try {
      const isWritten = await this.sink.write(group, this.options.mayWrite);
      if (isWritten) this.#writeSize.grow();
      return isWritten;
    } catch (error) {
      if (error instanceof SinkError && error.isTimeout) this.#writeSize.shrink();
      throw error;
    }
  }
}

/** @returns `null`: the sink has all of it */
function buildWrite(before: SinkPosition, page: ChangePage): BucketWrite | null {
  const { bucket, starts, upTo, changedAtMs, posts, members, milestones, isComplete, sums } = page;
  const { epoch, nonce } = starts.at(-1)!;
  const isSame = before.upTo === upTo && compareIncarnations(before, { epoch, nonce }) === 'same';
  if (isSame && posts.length === 0) return null;
  const position = { epoch, nonce, upTo, changedAtMs };
  const changes = { posts, members, milestones, postsWithAllMembers: [] };
  return {
    bucket,
    epoch,
    ...changes,
    position,
    sums: isComplete ? sums : null,
    startsFullSync: false,
    endsFullSync: false,
  };
}

function describeHalt({ changedAtMs }: SinkPosition, page: ChangePage): string {
  const inSink = changedAtMs === 0 ? 'counts' : `changes up to ${toText(changedAtMs)}`;
  const inStore =
    page.changedAtMs === 0 ? 'has recorded no change' : `has recorded some up to ${toText(page.changedAtMs)}`;
  return (
    `halted: it may have ${inSink} that this store lacks, which ${inStore}: the store was emptied, restored from an old backup, is that ` +
    `of another deployment, or lost its last changes over ${STARTS_MAX} times. To bring the counts back: tallycast restore; to overwrite ` +
    "the sink with the store's counts: tallycast sink adopt"
  );
}

function toText(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
