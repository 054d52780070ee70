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
/** Operations whose batches are under way, or wait for those, when it is stopped. */
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

  /** What it has sent does not get to Redis until the proxy resumes. */
  async function stopInFlight(gateway: ProxiedGateway): Promise<void> {
    gateway.toRedis.stall();
    await until(
      async () => (await readMetric(gateway.url, 'tallycast_pending_operations')) >= IN_FLIGHT,
      'operations are in flight',
    );
    stopped.push(gateway);
    process.kill(gateway.pid, 'SIGSTOP');
  }

  // What is in flight gets to Redis before its clients ask for it elsewhere, or after: one gateway of each kind.
  it.each(SEEDS)(
    'counts once what it sent, and its viewers are missed as long (TEST_SEED=%d)',
    async (seed) => {
      const random = new Random(seed);
      const posts = Array.from({ length: POSTS }, (_, i) => `${seed}-${i}`);
      const watchers = gateways.map(({ url }) => new TestViewer(url, posts));
      await Promise.all(watchers.map((watcher) => watcher.untilSubscribed()));
      const untilLive = (viewers: number, at: readonly TestViewer[]): Promise<void> =>
        until(
          () => at.every((watcher) => posts.every((post) => watcher.viewerCount(post) === viewers)),
          `${viewers} viewers are seen`,
        );
      await untilLive(GATEWAYS, watchers);
      const sockets = watchers.map(({ socket }) => socket.id);

      const doors = gateways.map(({ clientUrl }) => clientUrl);
      const clients = new HoppingCrowd(doors, CLIENTS, posts, random);
      clients.act();
      await clients.crowd.untilAcknowledgements(1 + random.below(BEFORE_STOP_MAX));
      const before = random.pick(gateways);
      const after = random.pick(gateways.filter((gateway) => gateway !== before));
      const both = [before, after];
      const uncounted = await Promise.all(both.map(uncountedBy));
      await Promise.all(both.map(stopInFlight));
      before.toRedis.resume();
      for (const { clientUrl: door } of both) clients.leaveGateway(door);
      await clients.crowd.untilAcknowledgements(CLIENTS);
      await clients.stop();
      const { sent } = clients.crowd;
      const others = gateways.filter((gateway) => !both.includes(gateway));
      for (const { url } of others) expect(await readTotals(url, posts)).toEqual(sent);
      await untilLive(
        others.length,
        watchers.filter((_, i) => others.includes(gateways[i]!)),
      );

      after.toRedis.resume();
      for (const { pid } of stopped.splice(0)) process.kill(pid, 'SIGCONT');
      await untilLive(GATEWAYS, watchers);
      expect(watchers.map(({ socket }) => socket.id)).toEqual(sockets);
      for (const { toClients, url } of both) {
        // Its clients left long ago: once their connections are gone, it has read all that they had asked.
        await until(() => toClients.connections === 0, 'its connections are gone');
        await untilMetric(url, 'tallycast_pending_operations', 0);
      }
      // All of it had been counted elsewhere.
      expect((await uncountedBy(after)) - uncounted[1]!).toBeGreaterThanOrEqual(IN_FLIGHT);
      expect((await uncountedBy(before)) - uncounted[0]!).toBeGreaterThanOrEqual(0);
      for (const { url } of gateways) expect(await readTotals(url, posts)).toEqual(sent);
      for (const watcher of watchers) {
        await watcher.untilShows(sent);
        expect(watcher.summed).toEqual(sent);
      }
    },
    LIMIT_MS,
  );
});

/** Operations that had been counted already, or waited for so long that their clients were told to ask again. */
async function uncountedBy({ url }: ProxiedGateway): Promise<number> {
  return countOperations(await readMetrics(url), 'duplicate', 'UNAVAILABLE');
}
