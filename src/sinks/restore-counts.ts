import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import type { Batch } from '../counters/batch.js';
import { bucketOf } from '../counters/bucket-of.js';
import type { Member } from '../counters/changed-posts.js';
import type { PostMilestone } from '../counters/milestones.js';
import type { Metrics } from '../counters/metrics.js';
import type { Operation } from '../counters/operation.js';
import type { CopyableStore } from '../store/change-store.js';

/** Operations of a batch, as a gateway commits them. */
const BATCH_OPERATIONS_MAX = 500;
/** Batches of all buckets that are committed or wait for it: two of each of 64 buckets. Those of one bucket wait for each other. */
const BATCHES_MAX = 128;
/** Half a minute of a store that is down, which a failover takes at most. */
const ATTEMPTS_MAX = 30;
const RETRY_MS = 1_000;

/** A post as a copy of the counts has it. */
export interface CopiedPost {
  readonly post: string;
  /** By metric index. */
  readonly totals: readonly number[];
}

export interface RestoreOptions {
  readonly metrics: Metrics;
  readonly buckets: number;
  /** 64 random bits: of the producer whose batches these are. */
  readonly producerId: string;
  readonly clock: Clock;
}

interface RestoredBucket {
  /** That of its last batch. */
  batchNumber: number;
  operations: Operation[];
  /** Resolves when its batches until now are committed. */
  committed: Promise<void>;
}

/**
 * Commits counts and members of a copy to an empty store, full batches of several buckets at once, while the copy is read. A restore
 * that was cut off cannot go on: its store is to be emptied first.
 *
 * Cost: an operation for each count above zero, and for each member.
 */
export class CountsRestore {
  readonly #buckets: readonly RestoredBucket[];
  #batches = 0;
  /** Lets the caller go on that waits until fewer batches are committed. */
  #resume = (): void => undefined;
  /** The first batch that could not be committed ends the restore. */
  #failure: { readonly error: unknown } | null = null;
  #posts = 0;
  #members = 0;
  #milestones = 0;
  /** The post of the last member. */
  #post = '';
  /** By metric index: the members of this post. */
  #membersOfPost = new Map<number, number>();

  constructor(
    private readonly store: CopyableStore,
    private readonly options: RestoreOptions,
  ) {
    this.#buckets = Array.from({ length: options.buckets }, () => ({
      batchNumber: 0,
      operations: [],
      committed: Promise.resolve(),
    }));
  }

  /** How many posts were added. */
  get posts(): number {
    return this.#posts;
  }

  get members(): number {
    return this.#members;
  }

  get milestones(): number {
    return this.#milestones;
  }

  /** @throws Error unless the store has no posts */
  async requireEmpty(): Promise<void> {
    const all = new Set(this.#buckets.keys());
    for (let cursor: string | null = ''; cursor !== null;) {
      const page = await this.store.changeStore.readAll(all, cursor, 1);
      if (page.posts.length > 0) {
        throw new Error(`the store has counts, such as those of ${page.posts[0]!.post}: restore into an empty one`);
      }
      cursor = page.next;
    }
  }

  /** Adds a member, before its post is added. */
  addMember({ post, metric, actor }: Member): void {
    if (post !== this.#post) this.#membersOfPost.clear();
    this.#post = post;
    this.#membersOfPost.set(metric, (this.#membersOfPost.get(metric) ?? 0) + 1);
    this.#members += 1;
    this.#add({ post, metric, kind: 'set', value: 1, actor, session: null, seq: 0 });
  }

  /**
   * Adds a post, once, right after its members. What a toggle counts besides its members becomes its anonymous count.
   * @returns the names of toggles that count fewer than their members: the members are right then
   */
  addPost({ post, totals }: CopiedPost): string[] {
    this.#posts += 1;
    const few: string[] = [];
    for (const { kind, index, name } of this.options.metrics.list) {
      const members = post === this.#post ? (this.#membersOfPost.get(index) ?? 0) : 0;
      const value = (totals[index] ?? 0) - members;
      if (value < 0) few.push(name);
      const count = kind.hasMembers ? 'adjust' : 'add';
      if (value > 0) this.#add({ post, metric: index, kind: count, value, actor: null, session: null, seq: 0 });
    }
    return few;
  }

  /** Resolves when more may be added, to one caller at a time. @throws Error if a batch could not be committed */
  async ready(): Promise<void> {
    if (this.#batches >= BATCHES_MAX) await new Promise<void>((resolve) => (this.#resume = resolve));
    if (this.#failure !== null) throw this.#failure.error;
  }

  /** Resolves when everything is durable. @throws Error if a batch could not be committed */
  async finish(): Promise<void> {
    for (const bucket of this.#buckets.keys()) this.#commit(bucket);
    await this.idle();
    if (this.#failure !== null) throw this.#failure.error;
  }

  /**
   * Adds milestones, after all posts are durable: their operations would find them again otherwise. Those that are there stay.
   * @throws Error if the store rejects them
   */
  async addMilestones(records: readonly PostMilestone[]): Promise<void> {
    await this.#retry(() => this.store.changeStore.restoreMilestones(records));
    this.#milestones += records.length;
  }

  /** Resolves when no batch is committed any more, whatever has failed. */
  async idle(): Promise<void> {
    await Promise.all(this.#buckets.map(({ committed }) => committed));
  }

  #add(operation: Operation): void {
    const bucket = bucketOf(operation.post, this.options.buckets);
    const { operations } = this.#buckets[bucket]!;
    operations.push(operation);
    if (operations.length === BATCH_OPERATIONS_MAX) this.#commit(bucket);
  }

  /** Commits the bucket's operations after its batch before. */
  #commit(number: number): void {
    const bucket = this.#buckets[number]!;
    const { operations } = bucket;
    if (operations.length === 0) return;
    bucket.operations = [];
    const { producerId, clock } = this.options;
    const batchNumber = (bucket.batchNumber += 1);
    this.#batches += 1;
    bucket.committed = bucket.committed.then(async () => {
      const batch = { bucket: number, producerId, batchNumber, atMs: clock.wallMs(), operations };
      if (this.#failure === null) await this.#commitOne(batch).catch((error: unknown) => (this.#failure = { error }));
      this.#batches -= 1;
      this.#resume();
    });
  }

  /** The store applies a batch once, however often it is sent. */
  async #commitOne(batch: Batch): Promise<void> {
    await this.#retry(() => this.store.commit(batch));
  }

  async #retry(write: () => Promise<unknown>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await write();
        return;
      } catch (error) {
        if (attempt === ATTEMPTS_MAX) throw error;
        await sleep(this.options.clock, RETRY_MS);
      }
    }
  }
}
