import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ACTOR_KEYS } from '../../src/counters/ids.js';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { closeClients, readTotals, type Totals } from '../support/clients.js';
import { FAST_RECONNECT } from '../support/clients-crowd.js';
import { HoppingCrowd } from '../support/clients-hopping.js';
import { TestViewer } from '../support/clients-viewer.js';
import { stopAll } from '../support/gateway-process.js';
import { Random } from '../support/random.js';
import { stopRedis } from '../support/redis-server.js';
import { RegionProcesses } from '../support/region-processes.js';
import { until } from '../support/until.js';

const NAMES = ['eu', 'us', 'ap'];
const CLIENTS_A_REGION = 16;
const POSTS = Array.from({ length: 20 }, (_, i) => `post-${i}`);
const FAULTS = 4 * SCALE;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** Acknowledgements of a region between two faults, at most. */
const BETWEEN_MAX = 300;

describe('three regions of two gateways on a Redis each', () => {
  let world: RegionProcesses;
  let crowds: HoppingCrowd[];

  beforeAll(async () => {
    const more = { MAX_OPS_PER_CONNECTION: '0', ACTOR_KEYS: new Random(SEED).pick(ACTOR_KEYS) };
    world = await RegionProcesses.start(NAMES, { gateways: 2, redis: true, more });
    crowds = world.regions.map(
      ({ urls }, i) => new HoppingCrowd(urls, CLIENTS_A_REGION, POSTS, new Random(SEED + i), i * CLIENTS_A_REGION),
    );
  });

  afterAll(async () => {
    for (const crowd of crowds) crowd.stopHopping();
    await closeClients();
    await world.close();
    await stopAll();
    await stopRedis();
  });

  it(
    `three regions agree exactly after ${FAULTS} cuts and kills of gateways and Redis servers (TEST_SEED=${SEED})`,
    async () => {
      const random = new Random(SEED);
      for (const crowd of crowds) crowd.act();
      for (let fault = 0; fault < FAULTS; fault++) {
        await Promise.all(crowds.map(({ crowd }) => crowd.untilAcknowledgements(1 + random.below(BETWEEN_MAX))));
        await causeFault(random);
      }
      world.cutAll();
      // No region waits for another one before it acknowledges.
      await untilAcknowledgedInAll(CLIENTS_A_REGION);
      await Promise.all(crowds.map((crowd) => crowd.stop()));
      world.mend();
      const expected = addUp(crowds.map(({ crowd }) => crowd.sent));
      // Viewers get the counts by frames, because polling would slow down a small machine more than replication does.
      const viewers = world.urls.map((url) => new TestViewer(url, POSTS, FAST_RECONNECT));
      const agreed = (): boolean => viewers.every(({ totals }) => isDeepStrictEqual(totals, expected));
      await until(agreed, 'all gateways show what all regions counted', LIMIT_MS / 2).catch(() => undefined);
      for (const url of world.urls) expect([url, await readTotals(url, POSTS)]).toEqual([url, expected]);
    },
    LIMIT_MS,
  );

  async function causeFault(random: Random): Promise<void> {
    const region = random.pick(world.regions);
    const draw = random.next();
    if (draw < 0.5) world.cutOne(random);
    else if (draw < 0.65) world.mend();
    else if (draw < 0.9) await killGateway(region, random);
    else {
      await region.redis!.kill('SIGKILL');
      await region.redis!.restart();
    }
  }

  /** The crowds act for a while, then pause, because a boot takes many times as long while they act. */
  async function killGateway(region: RegionProcesses['regions'][number], random: Random): Promise<void> {
    const restarted = region.killAndRestart(random.below(2), world.env(region));
    await untilAcknowledgedInAll(CLIENTS_A_REGION);
    for (const { crowd } of crowds) crowd.stop();
    await restarted;
    for (const { crowd } of crowds) crowd.act();
  }

  async function untilAcknowledgedInAll(count: number): Promise<void> {
    await Promise.all(crowds.map(({ crowd }) => crowd.untilAcknowledgements(count)));
  }
});

function addUp(totals: readonly Record<string, Totals>[]): Record<string, Totals> {
  const sum = (post: string, metric: keyof Totals): number => totals.reduce((all, one) => all + one[post]![metric], 0);
  return Object.fromEntries(POSTS.map((post) => [post, { likes: sum(post, 'likes'), views: sum(post, 'views') }]));
}
