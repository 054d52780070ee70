import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { Metrics } from '../../src/counters/metrics.js';
import { HOME_RULES } from '../../src/counters/replication/home-rules.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { Random } from '../support/random.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { History } from './histories.js';
import { pairChanges } from './paired-changes.js';
import { StoreCopies } from './redis-copies.js';
import type { RegionHomes } from './region-homes.js';
import type { Kind, Region } from './redis-region.js';
import { NONCE, World } from './redis-regions-world.js';
import { LIMIT_MS, SCALE } from './runs.js';

const STEPS_A_HISTORY = 100;
const CHECK_EVERY = 50;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** Ahead of the servers' clocks, so that the stamps of a new incarnation do not depend on the time. */
const AHEAD_MS = Date.UTC(2040, 0, 1);
const REGIONS = ['eu', 'us', 'ap'] as const;

const TWO = Metrics.parse('likes:toggle,views:tally');
const SIX = Metrics.parse('likes:toggle,views:unique@30m,shares:tally,yes:choice@vote,no:choice@vote,readers:unique');
const FEW = { buckets: 2, postsABucket: 2, actors: 6, sessions: 5, gateways: 2, large: 100, largeChance: 0.005 };
const SOME = { buckets: 4, postsABucket: 12, actors: 150, sessions: 80, gateways: 3, large: 500, largeChance: 0.03 };
const MANY_ACTORS = { ...SOME, buckets: 1, postsABucket: 2, actors: 6_000, large: 2_500, largeChance: 0.05 };

const FOUR = Metrics.parse('likes:toggle,views:tally,yes:choice@vote,no:choice@vote');
const MILESTONES = { ...FEW, buckets: 1, postsABucket: 2 };
const MILESTONES_KIND = { begins: false, large: false, homes: true };

const kinds: readonly (readonly [string, Kind])[] = [
  ['few things of two regions', { shape: { ...FEW, metrics: TWO }, regions: 2, begins: false, large: false }],
  [
    'few things of three regions whose incarnations end',
    { shape: { ...FEW, metrics: SIX }, regions: 3, begins: true, large: false },
  ],
  ['some of everything of three regions', { shape: { ...SOME, metrics: SIX }, regions: 3, begins: false, large: true }],
  [
    'some of everything of two regions whose incarnations end',
    { shape: { ...SOME, metrics: TWO }, regions: 2, begins: true, large: true },
  ],
  ['many actors of two regions', { shape: { ...MANY_ACTORS, metrics: TWO }, regions: 2, begins: false, large: true }],
  ['milestones of two regions', { shape: { ...MILESTONES, metrics: TWO }, ...MILESTONES_KIND, regions: 2 }],
  ['milestones of three regions', { shape: { ...MILESTONES, metrics: FOUR }, ...MILESTONES_KIND, regions: 3 }],
  [
    'milestones of three regions whose incarnations end',
    { shape: { ...MILESTONES, metrics: TWO }, ...MILESTONES_KIND, regions: 3, begins: true },
  ],
];
const HISTORIES = SCALE;
/** Few histories reach milestones. */
const HISTORIES_WITH_HOMES = 5 * SCALE;
/** How often a copy has members where copies may have some. */
const MEMBERS_CHANCE = 0.5;

interface RedisLocation {
  readonly url: string;
  readonly client: Redis;
}

let servers: readonly RedisLocation[];

beforeAll(async () => {
  servers = await Promise.all(
    REGIONS.map(async () => {
      const server = await startRedis();
      return { url: server.url, client: server.client() };
    }),
  );
});
afterAll(stopRedis);

async function openRegion(name: string, i: number, kind: Kind, seed: number): Promise<Region> {
  const { shape } = kind;
  const { client, url } = servers[i]!;
  const peers = REGIONS.slice(0, kind.regions).filter((one) => one !== name);
  const startMs = Date.now();
  await client.flushall();
  const store = await openRedisStore(url, { ...shape, region: name, peers, nonce: () => NONCE });
  const reference = new ReferenceStore(
    shape.metrics,
    shape.buckets,
    { region: name, epoch: 1, nonce: NONCE },
    () => NONCE,
    undefined,
    undefined,
    undefined,
    () => startMs,
    { peers, rules: HOME_RULES },
  );
  const regions = store.replication!;
  for (const one of [reference, regions]) await one.acquireLeases(AHEAD_MS);
  const random = new Random(seed + i);
  const history = new History(shape, random);
  const region = { name, client, store, regions, reference, history, acks: new Map(), toggleCounts: new Map() };
  return withCopies(region, kind, random);
}

/**
 * Every second region has copies. Under the seqs of large deltas, which are merged in several steps, other members stand than in the
 * reference: so where deltas are large, copies either have no members or do not compare with it.
 */
function withCopies(alone: Omit<Region, 'backup' | 'copies'>, kind: Kind, random: Random): Region {
  const { client, history, store } = alone;
  const region: Region = { ...alone, backup: null, copies: null };
  if (random.chance(0.5)) return region;
  const withMembers = !kind.large || random.chance(0.5);
  const changes = kind.large && withMembers ? store.changeStore : pairChanges(region, kind.large);
  const copied = { client, history, changes, counters: store };
  return Object.assign(region, { copies: new StoreCopies(copied, random, withMembers ? MEMBERS_CHANCE : 0) });
}

async function compare(kind: Kind, seed: number): Promise<RegionHomes['seen']> {
  const names = REGIONS.slice(0, kind.regions);
  const regions = await Promise.all(names.map((name, i) => openRegion(name, i, kind, seed)));
  const world = new World(regions, kind, new Random(seed));
  try {
    for (let step = 1; step <= STEPS_A_HISTORY; step++) {
      await world.step().catch((error: unknown) => {
        throw new Error(`step ${step} of seed ${seed}`, { cause: error });
      });
      if (step % CHECK_EVERY === 0) await world.check();
    }
  } finally {
    await Promise.all(regions.map(({ store }) => store.close()));
  }
  return world.homes.seen;
}

const seen = { reached: 0, forwarded: 0 };

describe(`regions in Redis (TEST_SEED=${SEED})`, () => {
  it.each(kinds.map(([name, kind], i) => [name, kind, SEED + i * HISTORIES_WITH_HOMES] as const))(
    `regions in Redis equal the reference in histories of ${STEPS_A_HISTORY} steps about %s`,
    async (_, kind, first) => {
      const histories = kind.homes === true ? HISTORIES_WITH_HOMES : HISTORIES;
      for (let seed = first; seed < first + histories; seed++) {
        const { reached, forwarded } = await compare(kind, seed);
        seen.reached += reached;
        seen.forwarded += forwarded;
      }
    },
    LIMIT_MS,
  );

  it('histories about milestones reach some, and have operations for other regions', () => {
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(0);
  });
});
