import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import type { EntryDelta, Delta } from '../../src/counters/replication/delta.js';
import { firstStampAt } from '../../src/counters/replication/hybrid-clock.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { hashSlot } from '../../src/store/redis/client/hash-slot.js';
import { BUCKETS, key, Producer, METRICS, postIn, START_MS, view } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { readAllPages, normalizePosts } from '../property/normalized-deltas.js';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { Random } from '../support/random.js';
import { type RedisCluster, startCluster } from '../support/redis-cluster.js';
import { stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { until } from '../support/until.js';

const MOVES = 12 * SCALE;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** With this many actors their sets have several chunks. */
const ACTORS = 3_000;
const UPDATES = 20;
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

/** The nth delta of region us: its entry by then, and toggle updates of some actors. */
function buildDelta(n: number, random: Random): Delta {
  const stamp = firstStampAt(START_MS + n);
  const entries = [{ metric: VIEWS, incarnation: US, p: n, n: 0 }];
  const registers = Array.from({ length: UPDATES }, () => {
    return { metric: LIKES, actor: key(random.below(ACTORS)), stamp, on: random.chance(0.7) };
  });
  const common = {
    bucket: 0,
    source: US,
    startedAtStamp: 0,
    predecessors: [],
    ackedUpTo: 0,
    stableStamp: 0,
    fullSyncReceiver: null,
  };
  const posts = [{ post: POST, updatedAtMs: START_MS + n, entries, registers, members: [] }];
  return { kind: 'changes', ...common, after: 0, upTo: stamp, posts };
}

function isEntryOfUs({ incarnation }: EntryDelta): boolean {
  return incarnation.region === US.region;
}

/** Retries a call until it succeeds, as peer links and the ingest do. */
async function retry(call: () => Promise<unknown>): Promise<void> {
  const succeeds = (): Promise<boolean> =>
    call().then(
      () => true,
      () => false,
    );
  await until(succeeds, 'a bucket whose slot moves accepts the call');
}

describe('a bucket whose slot moves', () => {
  it(
    `a bucket whose slot moves ${MOVES} times merges the deltas of another region exactly (TEST_SEED=${SEED})`,
    async () => {
      const random = new Random(SEED);
      const reference = new ReferenceStore(METRICS, BUCKETS, { region: 'eu', epoch: 1, nonce: 7 }, () => 7);
      const producer = new Producer('prod-one');
      const slot = hashSlot('tc:{0}');
      const moving = new Set<number>();
      for (let n = 1, move = 0; move < MOVES; move++) {
        const to = random.pick(cluster.nodes);
        moving.add(move);
        const moved = cluster.moveSlot(slot, to).finally(() => moving.delete(move));
        do {
          const delta = buildDelta(n++, random);
          const batch = producer.batch(0, [view(POST)]);
          await reference.merge([delta]);
          await reference.commit(batch);
          await retry(() => store.replication!.merge([delta]));
          await retry(() => store.commit(batch));
        } while (moving.has(move));
        await moved;
      }
      const views = await Promise.all([reference, store].map((one) => one.read([POST], null)));
      expect(views[1]![0]!.counts.totals).toEqual(views[0]![0]!.counts.totals);
      const pagesOfBoth = await Promise.all(
        [reference, store.replication!].map((one) => readAllPages(one, new Set([0]), 10_000)),
      );
      // Each move begins an incarnation, as any change of the server does. Only the entries of us can be compared.
      const [expected, found] = pagesOfBoth.map((pages) => {
        const posts = pages.flatMap((page) => page.posts);
        return normalizePosts(posts.map((post) => ({ ...post, entries: post.entries.filter(isEntryOfUs) })));
      });
      expect(found).toEqual(expected);
    },
    LIMIT_MS,
  );
});
