import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { BUCKETS, METRICS } from '../contract/operations.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { startProxy } from '../support/tcp-proxy.js';

/** More pieces than a server answers in while a gateway boots: the last ones are never lost. */
const PIECES = 30;
const LIMIT_MS = 60_000;

/** What is to be ended, the last one first. */
const ends: (() => Promise<void>)[] = [];

async function endAll(): Promise<void> {
  for (let end = ends.pop(); end !== undefined; end = ends.pop()) await end();
}

describe('a gateway that boots', () => {
  afterEach(endAll);
  afterAll(stopRedis);

  it(
    'does so whichever answer is lost on the way, with its connection',
    async () => {
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
    },
    LIMIT_MS,
  );
});
