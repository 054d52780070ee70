import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { closeClients, readTotals } from '../support/clients.js';
import { HoppingCrowd } from '../support/clients-hopping.js';
import { TestViewer } from '../support/clients-viewer.js';
import { endProxied, type ProxiedGateway, startProxied } from '../support/gateway-proxied.js';
import { readMetric, readMetrics, countOperations, untilMetric } from '../support/metrics.js';
import { Random } from '../support/random.js';
import { until } from '../support/until.js';

const GATEWAYS = 4;
const CLIENTS = 60;
const POSTS = 10;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const SEEDS = Array.from({ length: SCALE }, (_, i) => SEED + i);
/** Acknowledgements before the stop, at most. */
const BEFORE_STOP_MAX = 500;
/** Operations that are pending, at least, when a gateway is stopped. */
const IN_FLIGHT = 20;
const ENV = { MAX_OPS_PER_CONNECTION: '0' };

describe('a gateway that is stopped for longer than its leases while others share its Redis', () => {
  let gateways: ProxiedGateway[] = [];
  let stopped: ProxiedGateway[] = [];

  beforeAll(async () => {
    gateways = await startProxied(GATEWAYS, ENV);
  });

  afterEach(async () => {
    for (const { toRedis } of gateways) toRedis.resume();
    for (const { pid } of stopped) process.kill(pid, 'SIGCONT');
    stopped = [];
    await closeClients();
  });

  afterAll(() => endProxied(gateways));

  /** Stops a gateway. Its commits in flight do not reach Redis until the proxy resumes. */
  async function stopInFlight(gateway: ProxiedGateway): Promise<void> {
    gateway.toRedis.stall();
    await until(
      async () => (await readMetric(gateway.url, 'tallycast_pending_operations')) >= IN_FLIGHT,
      'operations are in flight',
    );
    stopped.push(gateway);
    process.kill(gateway.pid, 'SIGSTOP');
  }

  // The commits in flight of one gateway reach Redis before its clients retry elsewhere, those of another one after.
  it.each(SEEDS)(
    'the operations of a stopped gateway are counted once, and its viewers are subtracted until it resumes (TEST_SEED=%d)',
    async (seed) => {
      const random = new Random(seed);
      const posts = Array.from({ length: POSTS }, (_, i) => `${seed}-${i}`);
      const viewers = gateways.map(({ url }) => new TestViewer(url, posts));
      await Promise.all(viewers.map((viewer) => viewer.untilSubscribed()));
      const untilLive = (count: number, at: readonly TestViewer[]): Promise<void> =>
        until(
          () => at.every((viewer) => posts.every((post) => viewer.viewerCount(post) === count)),
          `the gateways show ${count} viewers`,
        );
      await untilLive(GATEWAYS, viewers);
      const sockets = viewers.map(({ socket }) => socket.id);

      const clientUrls = gateways.map(({ clientUrl }) => clientUrl);
      const clients = new HoppingCrowd(clientUrls, CLIENTS, posts, random);
      clients.act();
      await clients.crowd.untilAcknowledgements(1 + random.below(BEFORE_STOP_MAX));
      const before = random.pick(gateways);
      const after = random.pick(gateways.filter((gateway) => gateway !== before));
      const both = [before, after];
      const uncounted = await Promise.all(both.map(readUncounted));
      await Promise.all(both.map(stopInFlight));
      before.toRedis.resume();
      for (const { clientUrl } of both) clients.leaveGateway(clientUrl);
      await clients.crowd.untilAcknowledgements(CLIENTS);
      await clients.stop();
      const { sent } = clients.crowd;
      const others = gateways.filter((gateway) => !both.includes(gateway));
      for (const { url } of others) expect(await readTotals(url, posts)).toEqual(sent);
      await untilLive(
        others.length,
        viewers.filter((_, i) => others.includes(gateways[i]!)),
      );

      after.toRedis.resume();
      for (const { pid } of stopped.splice(0)) process.kill(pid, 'SIGCONT');
      await untilLive(GATEWAYS, viewers);
      expect(viewers.map(({ socket }) => socket.id)).toEqual(sockets);
      for (const { toClients, url } of both) {
        // Its clients left long ago. When their connections are closed, the gateway has read all that they sent.
        await until(() => toClients.connections === 0, 'its connections are closed');
        await untilMetric(url, 'tallycast_pending_operations', 0);
      }
      // Other gateways had already counted these operations.
      expect((await readUncounted(after)) - uncounted[1]!).toBeGreaterThanOrEqual(IN_FLIGHT);
      expect((await readUncounted(before)) - uncounted[0]!).toBeGreaterThanOrEqual(0);
      for (const { url } of gateways) expect(await readTotals(url, posts)).toEqual(sent);
      for (const viewer of viewers) {
        await viewer.untilShows(sent);
        expect(viewer.summed).toEqual(sent);
      }
    },
    LIMIT_MS,
  );
});

/** Reads the number of operations that were duplicates, or were rejected because they had waited too long. */
async function readUncounted({ url }: ProxiedGateway): Promise<number> {
  return countOperations(await readMetrics(url), 'duplicate', 'UNAVAILABLE');
}
