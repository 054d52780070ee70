import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import type { EntryDelta, Delta } from '../../src/counters/replication/delta.js';
import { firstStampAt } from '../../src/counters/replication/hybrid-clock.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { hashSlot } from '../../src/store/redis/client/hash-slot.js';
import { BUCKETS, key, Producer, METRICS, postIn, START_MS, view } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { readAllPages, plainPosts } from '../property/plain-deltas.js';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { Random } from '../support/random.js';
import { type RedisCluster, startCluster } from '../support/redis-cluster.js';
import { stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { until } from '../support/until.js';

const MOVES = 12 * SCALE;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** This many actors that their sets are several chunks. */
const ACTORS = 3_000;
const WORDS = 20;
const POST = postIn(0);
const US = { region: 'us', epoch: 1, nonce: 9 };

let cluster: RedisCluster;
let store: RedisStore;

beforeAll(async () => {
  cluster = await startCluster({ primaries: 3, replicasEach: 0 });
  store = await openRedisStore(cluster.url, { metrics: METRICS, buckets: BUCKETS, region: 'eu' });
});
afterAll(async () => {
  await store.close();
  await stopRedis();
});

/** The nth thing that us tells: what it has counted by then, and the last words of some actors. */
function shipmentOf(n: number, random: Random): Delta {
  const stamp = firstStampAt(START_MS + n);
  const entries = [{ metric: VIEWS, incarnation: US, p: n, n: 0 }];
  const registers = Array.from({ length: WORDS }, () => {
    return { metric: LIKES, actor: key(random.below(ACTORS)), stamp, on: random.chance(0.7) };
  });
  const about = {
    bucket: 0,
    source: US,
    startedAtStamp: 0,
    predecessors: [],
    ackedUpTo: 0,
    stableStamp: 0,
    fullSyncReceiver: null,
  };
  const posts = [{ post: POST, updatedAtMs: START_MS + n, entries, registers, members: [] }];
  return { kind: 'changes', ...about, after: 0, upTo: stamp, posts };
}

function isOfUs({ incarnation }: EntryDelta): boolean {
  return incarnation.region === US.region;
}

/** As links and the ingest do: what could not be done is tried again, until it can. */
async function insist(call: () => Promise<unknown>): Promise<void> {
  const done = (): Promise<boolean> =>
    call().then(
      () => true,
      () => false,
    );
  await until(done, 'a bucket takes it whose slot moves');
}

describe('a bucket whose slot moves', () => {
  it(
    `merges what another region tells as if nothing were, ${MOVES} times (TEST_SEED=${SEED})`,
    async () => {
      const random = new Random(SEED);
      const reference = new ReferenceStore(METRICS, BUCKETS, { region: 'eu', epoch: 1, nonce: 7 }, () => 7);
      const life = new Producer('life-one');
      const slot = hashSlot('tc:{0}');
      const moving = new Set<number>();
      for (let n = 1, move = 0; move < MOVES; move++) {
        const to = random.pick(cluster.nodes);
        moving.add(move);
        const moved = cluster.moveSlot(slot, to).finally(() => moving.delete(move));
        do {
          const shipment = shipmentOf(n++, random);
          const batch = life.batch(0, [view(POST)]);
          await reference.merge([shipment]);
          await reference.commit(batch);
          await insist(() => store.replication!.merge([shipment]));
          await insist(() => store.commit(batch));
        } while (moving.has(move));
        await moved;
      }
      const views = await Promise.all([reference, store].map((one) => one.read([POST], null)));
      expect(views[1]![0]!.counts.totals).toEqual(views[0]![0]!.counts.totals);
      const scans = await Promise.all(
        [reference, store.replication!].map((one) => readAllPages(one, new Set([0]), 10_000)),
      );
      // Where it has moved a life begins, as on any other server.
      const [meant, found] = scans.map((pages) => {
        const posts = pages.flatMap((page) => page.posts);
        return plainPosts(posts.map((post) => ({ ...post, entries: post.entries.filter(isOfUs) })));
      });
      expect(found).toEqual(meant);
    },
    LIMIT_MS,
  );
});
