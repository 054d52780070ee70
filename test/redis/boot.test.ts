import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { Metrics } from '../../src/counters/metrics.js';
import { CONFIG_KEY } from '../../src/store/redis/codec/redis-keys.js';
import { BUCKETS, key, Producer, like, METRICS, postIn, view } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { startProxy } from '../support/tcp-proxy.js';

/** More chunks of replies than a boot reads. The last ones are never dropped. */
const CHUNKS = 30;

/** Closes stores and proxies, the last one first. */
const closers: (() => Promise<void>)[] = [];

async function closeAll(): Promise<void> {
  for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close();
}

describe('a gateway that boots', () => {
  afterEach(closeAll);
  afterAll(stopRedis);

  it('a gateway boots whichever reply is lost together with its connection', async () => {
    const server = await startRedis();
    let lost = 0;
    for (let dropped = 1; dropped <= CHUNKS; dropped++) {
      const proxy = await startProxy(server);
      closers.push(() => proxy.close());
      let chunks = 0;
      proxy.onReply = () => {
        chunks += 1;
        if (chunks !== dropped) return 'pass';
        lost += 1;
        return 'drop';
      };
      const store = await openRedisStore(`redis://127.0.0.1:${proxy.port}`, { metrics: METRICS, buckets: BUCKETS });
      closers.push(() => store.close());
      expect((await store.read(['post'], null))[0]!.counts.v).toBe(0);
      await closeAll();
    }
    // Each of the three connections logs in and is checked. With fewer losses, one of these replies was never lost.
    expect(lost).toBeGreaterThan(8);
  });

  it('a gateway names the region of data without one, once, and sends all of it to other regions', async () => {
    const { url } = await startRedis();
    const data = { metrics: METRICS, buckets: BUCKETS };
    const post = postIn(0);
    const before = await openRedisStore(url, data);
    await before.commit(new Producer('prod-one').batch(0, [like(post, key(1)), view(post, 3)]));
    await before.close();
    const named = await openRedisStore(url, { ...data, region: 'eu' });
    closers.push(() => named.close());
    await named.commit(new Producer('prod-two').batch(0, [like(post, key(2)), view(post)]));
    const [read] = await named.read([post], key(1));
    expect(read).toMatchObject({ counts: { totals: [2, 4, 0, 0] }, on: 1 });
    const other = new ReferenceStore(METRICS, BUCKETS, { region: 'us', epoch: 1, nonce: 1 }, () => 1);
    const { deltas } = await named.replication!.fullSyncPage(new Set([0]), '', 1_000);
    await other.merge(deltas);
    expect(await readTotals(other, post)).toEqual([2, 4, 0, 0]);
    for (const region of ['local', 'us']) {
      await expect(openRedisStore(url, { ...data, region })).rejects.toThrow('REGION must be eu');
    }
  });
});

describe('a gateway whose settings do not fit the data', () => {
  afterEach(closeAll);
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
      `METRICS must begin with likes,views,shares,saves, in this order`,
    ],
  ] as const)('a boot with %s fails with one line and changes nothing', async (_title, written, options, message) => {
    const server = await startRedis();
    const first = await openRedisStore(server.url, data);
    await first.close();
    const client = server.client();
    for (const [field, value] of Object.entries(written)) await client.hset(CONFIG_KEY, field, value);
    const before = await client.hgetall(CONFIG_KEY);
    await expect(openRedisStore(server.url, { ...data, ...options })).rejects.toThrow(message);
    expect(await client.hgetall(CONFIG_KEY)).toEqual(before);
  });

  it('a boot on layout 1, which has no ACTOR_KEYS, fails and changes nothing', async () => {
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

async function readTotals(store: ReferenceStore, post: string): Promise<readonly number[]> {
  const [read] = await store.read([post], null);
  return read!.counts.totals;
}
