import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { Metrics } from '../../src/counters/metrics.js';
import { CONFIG_KEY } from '../../src/store/redis/codec/redis-keys.js';
import { BUCKETS, key, Producer, like, METRICS, postIn, view } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { startProxy } from '../support/tcp-proxy.js';

/** More pieces than a server answers in while a gateway boots: the last ones are never lost. */
const PIECES = 30;

/** What is to be ended, the last one first. */
const ends: (() => Promise<void>)[] = [];

async function endAll(): Promise<void> {
  for (let end = ends.pop(); end !== undefined; end = ends.pop()) await end();
}

describe('a gateway that boots', () => {
  afterEach(endAll);
  afterAll(stopRedis);

  it('does so whichever answer is lost on the way, with its connection', async () => {
    const server = await startRedis();
    let lost = 0;
    for (let nth = 1; nth <= PIECES; nth++) {
      const proxy = await startProxy(server);
      ends.push(() => proxy.close());
      let pieces = 0;
      proxy.onReply = () => {
        pieces += 1;
        if (pieces !== nth) return 'pass';
        lost += 1;
        return 'drop';
      };
      const store = await openRedisStore(`redis://127.0.0.1:${proxy.port}`, { metrics: METRICS, buckets: BUCKETS });
      ends.push(() => store.close());
      expect((await store.read(['post'], null))[0]!.counts.v).toBe(0);
      await endAll();
    }
    // Each of the three connections logs in and is checked: fewer would say that nothing was lost where it matters.
    expect(lost).toBeGreaterThan(8);
  });

  it('gives a name to data that has none, once, and tells others of all that is there', async () => {
    const { url } = await startRedis();
    const data = { metrics: METRICS, buckets: BUCKETS };
    const post = postIn(0);
    const before = await openRedisStore(url, data);
    await before.commit(new Producer('life-one').batch(0, [like(post, key(1)), view(post, 3)]));
    await before.close();
    const named = await openRedisStore(url, { ...data, region: 'eu' });
    ends.push(() => named.close());
    await named.commit(new Producer('life-two').batch(0, [like(post, key(2)), view(post)]));
    const [read] = await named.read([post], key(1));
    expect(read).toMatchObject({ counts: { totals: [2, 4, 0, 0] }, on: 1 });
    const other = new ReferenceStore(METRICS, BUCKETS, { region: 'us', epoch: 1, nonce: 1 }, () => 1);
    const { deltas } = await named.replication!.fullSyncPage(new Set([0]), '', 1_000);
    await other.merge(deltas);
    expect(await totalsAt(other, post)).toEqual([2, 4, 0, 0]);
    for (const region of ['local', 'us']) {
      await expect(openRedisStore(url, { ...data, region })).rejects.toThrow('REGION must be eu');
    }
  });
});

describe('a gateway that does not fit the data', () => {
  afterEach(endAll);
  afterAll(stopRedis);

  const data = { metrics: METRICS, buckets: BUCKETS };
  const longer = Metrics.parse(`${METRICS.toString()},extra:tally`);

  it.each([
    ['another layout', { layout: '2' }, {}, /^the data in Redis has layout 2 \(this version reads layout 3\); use the/],
    ['other BUCKETS', {}, { buckets: 2 * BUCKETS, metrics: longer }, `BUCKETS must be ${BUCKETS}: `],
    ['other ACTOR_KEYS', {}, { actorKeys: 'int64', metrics: longer }, 'ACTOR_KEYS must be hash: '],
    ['another REGION', { region: 'eu' }, { region: 'us', metrics: longer }, 'REGION must be eu: '],
    [
      'other METRICS',
      {},
      { metrics: Metrics.parse('likes:toggle,views:tally'), region: 'eu' },
      'METRICS must begin with ',
    ],
  ] as const)('%s: it says so in one line and changes nothing', async (_what, written, options, message) => {
    const server = await startRedis();
    const first = await openRedisStore(server.url, data);
    await first.close();
    const client = server.client();
    for (const [field, value] of Object.entries(written)) await client.hset(CONFIG_KEY, field, value);
    const before = await client.hgetall(CONFIG_KEY);
    await expect(openRedisStore(server.url, { ...data, ...options })).rejects.toThrow(message);
    expect(await client.hgetall(CONFIG_KEY)).toEqual(before);
  });

  it('of layout 1, which knows no kind of keys, leaves the data as it is', async () => {
    const server = await startRedis();
    const client = server.client();
    const old = { layout: '1', buckets: String(BUCKETS), metrics: METRICS.toString(), region: 'local' };
    await client.hset(CONFIG_KEY, old);
    await expect(openRedisStore(server.url, data)).rejects.toThrow(
      'the data in Redis has layout 1 (this version reads layout 3); use the version that wrote it',
    );
    expect(await client.hgetall(CONFIG_KEY)).toEqual(old);
  });
});

async function totalsAt(store: ReferenceStore, post: string): Promise<readonly number[]> {
  const [read] = await store.read([post], null);
  return read!.counts.totals;
}
