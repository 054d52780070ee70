import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { closeClients, totalsAt } from '../support/clients.js';
import { HoppingCrowd } from '../support/clients-hopping.js';
import { Watcher } from '../support/clients-watcher.js';
import { endProxied, type ProxiedGateway, startProxied } from '../support/gateway-proxied.js';
import { metricAt, metricsOf, operationsThat, untilMetric } from '../support/metrics.js';
import { Random } from '../support/random.js';
import { until } from '../support/until.js';

const GATEWAYS = 3;
const CLIENTS = 60;
const POSTS = 10;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const SEEDS = Array.from({ length: Number(process.env['TEST_SCALE'] ?? 1) }, (_, i) => SEED + i);
/** Acknowledgements before the stop, at most. */
const BEFORE_STOP_MAX = 500;
/** Operations whose batches are under way, or wait for those, when it is stopped. */
const IN_FLIGHT = 20;
/** When what was in flight gets to Redis: before its clients ask for it elsewhere, or after. */
const WHEN = ['before', 'after'] as const;
/** The lease of its viewers and some sweeps, on a busy machine. */
const LEASE_LIMIT_MS = 30_000;
/** About ten seconds, unless the machine is busy with much else. */
const LIMIT_MS = 120_000;
const ENV = { MAX_OPS_PER_CONNECTION: '0' };

describe('a gateway that is stopped for longer than its leases while others share its Redis', () => {
  let gateways: ProxiedGateway[] = [];
  let stopped: ProxiedGateway | null = null;

  beforeAll(async () => {
    gateways = await startProxied(GATEWAYS, ENV);
  }, LIMIT_MS);

  afterEach(async () => {
    for (const { toRedis } of gateways) toRedis.resume();
    if (stopped !== null) process.kill(stopped.pid, 'SIGCONT');
    stopped = null;
    await closeClients();
  }, LIMIT_MS);

  afterAll(() => endProxied(gateways));

  /** What it has sent does not get to Redis until the proxy resumes. */
  async function stopInFlight(gateway: ProxiedGateway): Promise<void> {
    gateway.toRedis.stall();
    await until(
      async () => (await metricAt(gateway.url, 'tallycast_pending_operations')) >= IN_FLIGHT,
      'operations are in flight',
    );
    stopped = gateway;
    process.kill(gateway.pid, 'SIGSTOP');
  }

  it.each(SEEDS.flatMap((seed) => WHEN.map((when) => ({ seed, when }))))(
    'counts once what it sent and gets to Redis $when its clients have asked elsewhere, and is missed as long (TEST_SEED=$seed)',
    async ({ seed, when }) => {
      const random = new Random(seed);
      const posts = Array.from({ length: POSTS }, (_, i) => `${seed}-${when}-${i}`);
      const watchers = gateways.map(({ url }) => new Watcher(url, posts));
      await Promise.all(watchers.map((watcher) => watcher.untilSubscribed()));
      const untilLive = (viewers: number, at: readonly Watcher[]): Promise<void> =>
        until(
          () => at.every((watcher) => posts.every((post) => watcher.live(post) === viewers)),
          `${viewers} viewers are seen`,
          LEASE_LIMIT_MS,
        );
      await untilLive(GATEWAYS, watchers);
      const sockets = watchers.map(({ socket }) => socket.id);

      const clients = new HoppingCrowd(
        gateways.map(({ door }) => door),
        CLIENTS,
        posts,
        random,
      );
      clients.act();
      await clients.crowd.acknowledgements(1 + random.below(BEFORE_STOP_MAX));
      const gateway = random.pick(gateways);
      const others = gateways.filter((other) => other !== gateway);
      const uncounted = await uncountedBy(gateway);
      await stopInFlight(gateway);
      if (when === 'before') gateway.toRedis.resume();
      clients.abandon(gateway.door);
      await clients.crowd.acknowledgements(CLIENTS);
      await clients.rest();
      const { asked } = clients.crowd;
      for (const { url } of others) expect(await totalsAt(url, posts)).toEqual(asked);
      await untilLive(
        GATEWAYS - 1,
        watchers.filter((_, i) => gateways[i] !== gateway),
      );

      gateway.toRedis.resume();
      process.kill(gateway.pid, 'SIGCONT');
      stopped = null;
      await untilLive(GATEWAYS, watchers);
      expect(watchers.map(({ socket }) => socket.id)).toEqual(sockets);
      // Its clients left long ago: once their connections are gone, it has read all that they had asked.
      await until(() => gateway.toClients.connections === 0, 'its connections are gone', LEASE_LIMIT_MS);
      await untilMetric(gateway.url, 'tallycast_pending_operations', 0);
      // Had all of it been counted elsewhere, but for what could be counted before.
      const late = (await uncountedBy(gateway)) - uncounted;
      expect(late).toBeGreaterThanOrEqual(when === 'after' ? IN_FLIGHT : 0);
      for (const { url } of gateways) expect(await totalsAt(url, posts)).toEqual(asked);
      for (const watcher of watchers) {
        await watcher.untilShows(asked);
        expect(watcher.summed).toEqual(asked);
      }
    },
    LIMIT_MS,
  );
});

/** Operations that had been counted already, or waited for so long that their clients were told to ask again. */
async function uncountedBy({ url }: ProxiedGateway): Promise<number> {
  return operationsThat(await metricsOf(url), 'duplicate', 'UNAVAILABLE');
}
