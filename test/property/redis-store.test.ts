import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { Metrics } from '../../src/counters/metrics.js';
import { RULED_METRICS } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { Random } from '../support/random.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { ArmedMilestones } from './armed-milestones.js';
import { History, readAlike, sendAlike, type Shape } from './histories.js';
import { findFaults } from './redis-contents.js';
import { LIMIT_MS, SCALE } from './runs.js';

const BATCHES_A_HISTORY = 1_000;
/** Batches in flight at once. */
const ROUND = 50;
const CHECKS_A_HISTORY = 2;
/** Actors who read all posts at a check: fewer where there are many posts. */
const READERS_MAX = 20;
const VIEWS_MAX = 4_000;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);

const TWO = Metrics.parse('likes:toggle,views:tally');
const FOUR = Metrics.parse('likes:toggle,views:tally,shares:tally,saves:toggle');
const SIXTEEN = Metrics.parse(
  'likes:toggle,views:unique@30m,readers:unique,reads:unique@2h,shares:tally,aa:choice@one,bb:choice@one,cc:choice@two,' +
    'dd:choice@two,ee:choice@two,ff:toggle,gg:tally,hh:unique,ii:unique@1m,jj:toggle,kk:tally',
);

const FEW = { buckets: 2, postsABucket: 2, actors: 6, sessions: 5, gateways: 3, large: 200, largeChance: 0.002 };
const SOME = { buckets: 8, postsABucket: 12, actors: 150, sessions: 80, gateways: 5, large: 500, largeChance: 0.003 };
const MANY_POSTS = { ...SOME, buckets: 2, postsABucket: 1_000, large: 500, largeChance: 0.005 };
const MANY_ACTORS = { ...SOME, buckets: 1, postsABucket: 2, actors: 6_000, large: 2_500, largeChance: 0.004 };
const MANY_SESSIONS = { ...SOME, buckets: 2, sessions: 5_000, large: 500, largeChance: 0.006 };

const shapes: readonly (readonly [string, Shape])[] = [
  ['few things, 2 metrics', { ...FEW, metrics: TWO }],
  ['few things, 4 metrics', { ...FEW, metrics: FOUR }],
  ['few things, 16 metrics', { ...FEW, metrics: SIXTEEN }],
  ['some of everything, 2 metrics', { ...SOME, metrics: TWO }],
  ['some of everything, 16 metrics', { ...SOME, metrics: SIXTEEN }],
  ['many posts', { ...MANY_POSTS, metrics: FOUR }],
  ['many actors', { ...MANY_ACTORS, metrics: TWO }],
  ['many sessions', { ...MANY_SESSIONS, metrics: FOUR }],
  ['many visits', { ...MANY_ACTORS, metrics: RULED_METRICS }],
];
const shapesWithMilestones: typeof shapes = [
  ['milestones of few things, 2 metrics', { ...FEW, metrics: TWO }],
  ['milestones of few things, 16 metrics', { ...FEW, metrics: SIXTEEN }],
  ['milestones of some of everything, 4 metrics', { ...SOME, metrics: FOUR }],
];
/** With milestones: batches between two that are armed, how many are armed then, and records that a history has at least. */
const ARMING_ROUND = 10;
const ARMED_A_ROUND = 4;
const RECORDS_MIN = 20;
const HISTORIES = SCALE;

let client: Redis;
let url: string;

beforeAll(async () => {
  const server = await startRedis();
  url = server.url;
  client = server.client();
});
afterAll(stopRedis);

async function compare(shape: Shape, seed: number): Promise<void> {
  await client.flushall();
  const history = new History(shape, new Random(seed));
  const reference = new ReferenceStore(shape.metrics, shape.buckets, { region: 'local', epoch: 1, nonce: 7 });
  const stores = [await openRedisStore(url, shape), await openRedisStore(url, shape)] as const;
  try {
    for (let first = 0; first < BATCHES_A_HISTORY; first += ROUND) {
      const batches = Array.from({ length: ROUND }, () => history.next());
      await sendAlike(stores[(first / ROUND) % 2]!, reference, batches, first);
      if ((first + ROUND) % (BATCHES_A_HISTORY / CHECKS_A_HISTORY) > 0) continue;
      expect(await findFaults(client, history, reference)).toEqual([]);
      const posts = history.allPosts;
      const readers = history.actors.slice(0, Math.min(READERS_MAX, VIEWS_MAX / posts.length));
      await readAlike(stores[0], reference, posts, readers);
    }
  } finally {
    await Promise.all(stores.map((store) => store.close()));
  }
}

/** Like `compare`, with milestones that are armed and disarmed in between. */
async function compareMilestones(shape: Shape, seed: number): Promise<ArmedMilestones> {
  await client.flushall();
  const random = new Random(seed);
  const history = new History(shape, random);
  const reference = new ReferenceStore(shape.metrics, shape.buckets, { region: 'local', epoch: 1, nonce: 7 });
  const milestones = new ArmedMilestones(history, random, reference);
  const stores = [await openRedisStore(url, shape), await openRedisStore(url, shape)] as const;
  try {
    for (let first = 0; first < BATCHES_A_HISTORY; first += ARMING_ROUND) {
      const store = stores[(first / ARMING_ROUND) % 2]!;
      for (let i = 0; i < ARMED_A_ROUND; i++) await milestones.change(store);
      const batches = Array.from({ length: ARMING_ROUND }, () => milestones.vary(history.next()));
      await milestones.send(store, batches, first);
      if ((first + ARMING_ROUND) % (BATCHES_A_HISTORY / CHECKS_A_HISTORY) > 0) continue;
      expect(await findFaults(client, history, reference)).toEqual([]);
      await milestones.compare(stores[0]);
      await milestones.checkFields(client);
    }
  } finally {
    await Promise.all(stores.map((store) => store.close()));
  }
  return milestones;
}

describe(`the Redis store (TEST_SEED=${SEED})`, () => {
  it.each(shapes.map(([name, shape], i) => [name, shape, SEED + i * HISTORIES] as const))(
    `the Redis store equals the reference in ${HISTORIES} histories of ${BATCHES_A_HISTORY} batches about %s`,
    async (_, shape, firstSeed) => {
      for (let seed = firstSeed; seed < firstSeed + HISTORIES; seed++) {
        await compare(shape, seed).catch((error: unknown) => {
          throw new Error(`the history of seed ${seed}`, { cause: error });
        });
      }
    },
    LIMIT_MS,
  );

  it.each(shapesWithMilestones.map(([name, shape], i) => [name, shape, SEED + i * HISTORIES] as const))(
    `the Redis store reaches the milestones of the reference in ${HISTORIES} histories about %s`,
    async (_, shape, firstSeed) => {
      for (let seed = firstSeed; seed < firstSeed + HISTORIES; seed++) {
        const { records, listed, unlisted } = await compareMilestones(shape, seed).catch((error: unknown) => {
          throw new Error(`the history of seed ${seed}`, { cause: error });
        });
        expect(records).toBeGreaterThan(RECORDS_MIN);
        expect(shape.metrics === SIXTEEN ? unlisted : listed).toBeGreaterThan(0);
      }
    },
    LIMIT_MS,
  );
});
