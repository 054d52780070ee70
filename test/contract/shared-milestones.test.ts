import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { VIEWS } from '../../src/counters/metrics.js';
import { MERGED_RECORDS_MAX, type ReachedMilestone } from '../../src/counters/milestones.js';
import type { Delta } from '../../src/counters/replication/delta.js';
import { HOME_NUMBER_JUMP_MAX, HOME_RULES } from '../../src/counters/replication/home-rules.js';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import type { MilestoneStore } from '../../src/store/milestone-store.js';
import type { ReplicatedStore } from '../../src/store/replicated-store.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { BUCKETS, METRICS, postIn, START_MS } from './operations.js';
import { ReferenceStore } from './reference-store.js';

/** A store of the region eu, whose only peer is us. */
interface RegionalStore {
  readonly milestones: MilestoneStore;
  readonly regions: ReplicatedStore;
  close(): Promise<void>;
}

const PEERS = ['us'];
const SOURCE = { region: 'us', epoch: 1, nonce: 5 };

const STORES: readonly (readonly [string, () => Promise<RegionalStore>])[] = [
  ['the reference', openReference],
  ['the embedded store', openEmbedded],
  ['the Redis store', openRedis],
];

let opened: RegionalStore;

afterEach(() => opened.close());
afterAll(stopRedis);

function openReference(): Promise<RegionalStore> {
  const rules = { peers: PEERS, rules: HOME_RULES };
  const incarnation = { region: 'eu', epoch: 1, nonce: 1 };
  const store = new ReferenceStore(
    METRICS,
    BUCKETS,
    incarnation,
    () => 1,
    undefined,
    undefined,
    undefined,
    () => 0,
    rules,
  );
  return Promise.resolve({ milestones: store.milestones, regions: store, close: () => Promise.resolve() });
}

async function openEmbedded(): Promise<RegionalStore> {
  const path = await mkdtemp(join(tmpdir(), 'tallycast-contract-'));
  const replication = { wallMs: () => 0, peers: PEERS };
  const data = { path, buckets: BUCKETS, metrics: METRICS, actorKeys: 'hash' } as const;
  const store = new EmbeddedStore({ ...data, region: 'eu', nonce: () => 1, replication });
  const close = async (): Promise<void> => {
    await store.close();
    await rm(path, { recursive: true });
  };
  return { milestones: store.milestones, regions: store.replication!, close };
}

async function openRedis(): Promise<RegionalStore> {
  const { url } = await startRedis();
  const store = await openRedisStore(url, { metrics: METRICS, buckets: BUCKETS, region: 'eu', peers: PEERS });
  return { milestones: store.milestones, regions: store.replication!, close: () => store.close() };
}

/** A delta of us with the home of the views of a post and its records; us has counted 3. */
function deltaOf(bucket: number, number: number, reached: readonly ReachedMilestone[] = []): Delta {
  const stamps = { after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0, startedAtStamp: 0 };
  const home = { region: 'us', number, mode: 'released' } as const;
  const homes = [{ metric: VIEWS, home, confirmations: [], reached }];
  const entries = [{ metric: VIEWS, incarnation: SOURCE, p: 3, n: 0 }];
  const post = { post: postIn(bucket), updatedAtMs: START_MS, entries, registers: [], members: [], homes };
  return {
    kind: 'changes',
    bucket,
    source: SOURCE,
    ...stamps,
    predecessors: [],
    fullSyncReceiver: null,
    posts: [post],
  };
}

function recordOf(n: number, missed: boolean): ReachedMilestone {
  const operation = { actor: null, session: null, seq: 0, kind: 'add', value: missed ? 0 : 1 } as const;
  return { n, ...operation, total: n, v: 1, region: 'us', epoch: 1, atMs: START_MS, recordedAtMs: 1, missed };
}

async function countOf(bucket: number): Promise<number | undefined> {
  const [delta] = await opened.regions.readPosts([postIn(bucket)]);
  return delta!.posts[0]!.entries.find(({ incarnation }) => incarnation.region === 'us')?.p;
}

describe.each(STORES)('milestones of several regions in %s', (_, open) => {
  it('records of other regions are kept up to a number: those that name somebody first, of these the least n', async () => {
    opened = await open();
    const ROOM = 28;
    const first = Array.from({ length: MERGED_RECORDS_MAX - ROOM }, (_, i) => recordOf(1_001 + i, true));
    // In descending order, so that the order in which they come is not the one in which they are kept.
    const more = Array.from({ length: 60 }, (_, i) => recordOf(60 - i, i % 2 === 0));
    const kept = Array.from({ length: ROOM }, (_, i) => 2 * i + 1);
    for (const reached of [first, more, more]) {
      await opened.regions.merge([deltaOf(0, 1, reached)]);
    }
    const { reached } = await opened.milestones.read(postIn(0), VIEWS);
    expect(reached.map(({ n }) => n)).toEqual([...kept, ...first.map(({ n }) => n)]);
    expect(reached.filter(({ missed }) => !missed).map(({ n }) => n)).toEqual(kept);
  });

  it('a delta with a home whose number no region can have is rejected, and a later one is merged', async () => {
    opened = await open();
    const readHome = async (): Promise<unknown> => (await opened.milestones.read(postIn(0), VIEWS)).home;
    const problem = `home of metric ${VIEWS} of post ${postIn(0)} has the number ${HOME_NUMBER_JUMP_MAX + 1}; it must be at most ${HOME_NUMBER_JUMP_MAX}`;
    const merging = async (): Promise<unknown> => opened.regions.merge([deltaOf(0, HOME_NUMBER_JUMP_MAX + 1)]);
    await expect(merging()).rejects.toThrow(problem);
    expect([await readHome(), await countOf(0)]).toEqual([null, undefined]);
    for (const number of [HOME_NUMBER_JUMP_MAX, 2 * HOME_NUMBER_JUMP_MAX]) {
      await opened.regions.merge([deltaOf(0, number)]);
      expect(await readHome()).toEqual({ region: 'us', number, mode: 'released' });
    }
    await expect(opened.regions.merge([deltaOf(0, Number.MAX_SAFE_INTEGER)])).rejects.toThrow('it must be at most');
    expect([await readHome(), await countOf(0)]).toMatchObject([{ number: 2 * HOME_NUMBER_JUMP_MAX }, 3]);
  });

  it('a home with an impossible number keeps deltas of other buckets from nothing', async () => {
    opened = await open();
    await expect(opened.regions.merge([deltaOf(0, HOME_NUMBER_JUMP_MAX + 1), deltaOf(1, 1)])).rejects.toThrow('number');
    expect(await countOf(1)).toBe(3);
  });
});
