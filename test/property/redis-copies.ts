import type { PostCounts } from '../../src/counters/batch.js';
import { SUM_MODULUS } from '../../src/counters/changed-posts.js';
import type { Random } from '../support/random.js';
import { type BucketContents, BucketCopy, type CopiedStore } from './bucket-copy.js';
import { findRecordFaults } from './redis-change-record.js';

const COPIES_A_BUCKET = 2;
/** The second copy of a bucket reads rarely, so that it lacks much. */
const READS_RARELY = 0.1;
const LIMIT_MAX = 500;

/** Copies of all buckets of a store, each of which reads at its own times. */
export class StoreCopies {
  #copies: readonly (readonly BucketCopy[])[];
  /** By bucket: the sums of all totals when recording began. */
  #bases = new Map<number, readonly bigint[]>();

  constructor(
    private readonly store: CopiedStore,
    private readonly random: Random,
    /** How often a copy has members. */
    private readonly membersChance: number,
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
      const posts = this.store.history.posts[bucket]!;
      const drift = await this.store.changes.checkMembers(posts, true);
      if (drift.length > 0) throw new Error(`bucket ${bucket} counts other members: ${JSON.stringify(drift)}`);
      const faults = await findRecordFaults(this.store.client, bucket, posts);
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
    return Array.from({ length: this.store.history.shape.buckets }, (_, bucket) =>
      Array.from({ length: COPIES_A_BUCKET }, () => {
        const withMembers = this.random.chance(this.membersChance);
        const readContents = (): Promise<BucketContents> => this.#readContents(bucket, withMembers);
        return new BucketCopy(this.store, { bucket, withMembers, readContents });
      }),
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

  async #readContents(bucket: number, withMembers: boolean): Promise<BucketContents> {
    const members = withMembers ? await this.#readMembers(bucket) : new Set<string>();
    return { posts: await this.#readCounts(bucket), members };
  }

  /** Reads the sets of members themselves. */
  async #readMembers(bucket: number): Promise<Set<string>> {
    const { client } = this.store;
    const prefix = `tc:{${bucket}}:members:`;
    const found = new Set<string>();
    const readSet = async (key: string): Promise<void> => {
      const [, metric, post] = /^(\d+):(.+):\d+$/.exec(key.slice(prefix.length))!;
      for (const actor of await client.smembers(key)) found.add(`${post} ${metric} ${actor}`);
    };
    // At once, because most sets are small and a reply would take longer than its set.
    await Promise.all((await client.keys(`${prefix}*`)).map(readSet));
    return found;
  }
}
