import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { VIEWS } from '../../src/counters/metrics.js';
import { DataDirectory } from '../../src/store/embedded/disk/data-directory.js';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import { END_OF_KEYS } from '../../src/store/embedded/disk/lmdb-table.js';
import { BUCKETS, key, Producer, like, METRICS, postIn, view } from '../contract/operations.js';
import { LIMIT_MS } from '../property/runs.js';
import { scaled, SEED } from './fuzz/fuzzing.js';
import { mutations } from './fuzz/mutations.js';

/** Posts of bucket 0, whose values are damaged, and as many of bucket 1, which are not. */
const POSTS = 20;
const HURT = 0;
const WELL = 1;
/** More actors than a record holds, so that a set has chunks. */
const ACTORS = 40;
const TABLES = ['posts', 'members', 'marks', 'generations', 'milestones'] as const;
type Table = (typeof TABLES)[number];
/** One more than the views of a post. */
const VIEWS_ARMED = 6;
/** Runs of 20 to 40 damaged values each; fewer for generations. */
const RUNS = 6;

let path: string;
let producers = 0;

const options = { buckets: BUCKETS, actorKeys: 'hash' as const, region: 'eu', nonce: () => 7 };

function open(warn?: (message: string) => void): EmbeddedStore {
  return new EmbeddedStore({ ...options, path, metrics: METRICS, ...(warn && { warn }) });
}

function postsIn(bucket: number): string[] {
  return Array.from({ length: POSTS }, (_, i) => postIn(bucket, i));
}

/** Uses one commit, because a durable write takes longer than everything else. */
async function fill(): Promise<void> {
  const store = open();
  const producer = new Producer(`producer-${++producers}`);
  const batches = [HURT, WELL].flatMap((bucket) =>
    postsIn(bucket).map((post, at) => {
      const likes = Array.from({ length: ACTORS }, (_, i) =>
        like(post, key(i), { session: key(1_000 * at + i), seq: 1 }),
      );
      return producer.batch(bucket, [view(post, 5), ...likes]);
    }),
  );
  const armings = [HURT, WELL].flatMap((bucket) =>
    postsIn(bucket).map((post) => store.milestones.arm(post, VIEWS, VIEWS_ARMED)),
  );
  await Promise.all([...batches.map((batch) => store.commit(batch)), ...armings]);
  await store.close();
}

/** Whether a key of the table belongs to bucket HURT, or to one of its posts. */
const IS_HURT: Readonly<Record<Table, (of: string) => boolean>> = {
  posts: (of) => postsIn(HURT).includes(of),
  members: (of) => postsIn(HURT).some((post) => of.startsWith(`\0${post}\0`)),
  marks: (of) => of.startsWith('\0\0'),
  generations: (of) => of.startsWith('\0\0'),
  milestones: (of) => of === 'bucket \0\0' || postsIn(HURT).some((post) => of === `post ${post}`),
};

/** @returns the number of changed values */
async function damage(name: Table, seed: number): Promise<number> {
  const directory = DataDirectory.open({ ...options, path, metrics: METRICS.toString() });
  const { posts, members, milestones, sessionMarks } = directory.tables;
  const table = { posts, members, milestones, ...sessionMarks }[name];
  const keys = table.keys('', END_OF_KEYS, Infinity).filter(IS_HURT[name]);
  const changes = fc.sample(mutations, { seed, numRuns: keys.length });
  await directory.commit(() => keys.forEach((of, i) => table.put(of, changes[i]!(table.get(of)!))));
  await directory.close();
  return keys.length;
}

/** Damaged values give a result or an error. @returns the number of failed batches */
async function use(store: EmbeddedStore, producer: Producer): Promise<number> {
  let failed = 0;
  for (const [i, post] of postsIn(HURT).entries()) {
    await store.read([post], key(1)).catch(() => undefined);
    const hurt = store.commit(producer.batch(HURT, [view(post), like(post, key(ACTORS))])).catch(() => (failed += 1));
    const well = postsIn(WELL)[i]!;
    const result = await store.commit(producer.batch(WELL, [view(well)]));
    expect(result).toMatchObject({ kind: 'applied', changed: [{ post: well, totals: [ACTORS, 6, 0, 0] }] });
    expect((await store.milestones.read(well, VIEWS)).reached).toMatchObject([{ n: VIEWS_ARMED, missed: false }]);
    await store.milestones.read(post, VIEWS).catch(() => undefined);
    await hurt;
  }
  return failed;
}

describe(`damaged values of a data file (TEST_SEED=${SEED})`, () => {
  it.each(TABLES)(
    '%s: only batches that need damaged values fail, and no other bucket of the same commit',
    async (name) => {
      const property = fc.asyncProperty(fc.integer(), async (seed) => {
        path = mkdtempSync(join(tmpdir(), 'tallycast-fuzz-'));
        try {
          await fill();
          expect(await damage(name, seed)).toBeGreaterThan(0);
          const warnings: string[] = [];
          const store = open((message) => warnings.push(message));
          const failed = await use(store, new Producer(`producer-${++producers}`));
          await store.close();
          expect(warnings).toEqual(failed > 0 ? [expect.stringContaining('a value is damaged')] : []);
        } finally {
          rmSync(path, { recursive: true });
        }
      });
      await fc.assert(property, { seed: SEED, numRuns: scaled(RUNS), endOnFailure: true });
    },
    LIMIT_MS,
  );
});
