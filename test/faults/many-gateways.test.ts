import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { ACTOR_KEYS } from '../../src/counters/ids.js';
import { SCALE } from '../property/runs.js';
import { closeClients, connect, readTotals, type Totals } from '../support/clients.js';
import { FAST_RECONNECT } from '../support/clients-crowd.js';
import { HoppingCrowd } from '../support/clients-hopping.js';
import { TestViewer } from '../support/clients-viewer.js';
import { endProxied, type ProxiedGateway, startProxied } from '../support/gateway-proxied.js';
import { readMetric, untilMetric } from '../support/metrics.js';
import { Random } from '../support/random.js';
import { until } from '../support/until.js';

const GATEWAYS = 4;
const CLIENTS = 200;
const POSTS = 20;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const LOSSES = seeds(SCALE, SEED);
const CRASHES = seeds(SCALE, SEED + LOSSES.length);
const KILLS = 2;
/** Acknowledgements in a round, and at most between two kills. */
const ENOUGH = 600;
const BETWEEN_KILLS_MAX = 300;
/** Views that are asked for at once, without a number. */
const UNNUMBERED = 5;
const ENV = { MAX_OPS_PER_CONNECTION: '0', ACTOR_KEYS: new Random(SEED).pick(ACTOR_KEYS) };

describe(`${CLIENTS} clients that hop between ${GATEWAYS} gateways on one Redis`, () => {
  let gateways: ProxiedGateway[] = [];
  let crowd: HoppingCrowd;
  let watchers: TestViewer[];

  beforeAll(async () => {
    gateways = await startProxied(GATEWAYS, ENV);
  });

  afterEach(async () => {
    crowd.stopHopping();
    for (const gateway of gateways) gateway.keepAnswers();
    await closeClients();
  });

  afterAll(() => endProxied(gateways));

  /** Posts and sessions that nobody has seen before, so that one round leaves nothing to the next. */
  async function begin(seed: number): Promise<void> {
    const random = new Random(seed);
    const posts = Array.from({ length: POSTS }, (_, i) => `${seed}-${i}`);
    watchers = gateways.map(({ url }) => new TestViewer(url, [...posts, unnumbered(seed)], FAST_RECONNECT));
    await Promise.all(watchers.map((watcher) => watcher.untilSubscribed()));
    crowd = new HoppingCrowd(
      gateways.map(({ clientUrl }) => clientUrl),
      CLIENTS,
      posts,
      random,
    );
    for (const gateway of gateways) gateway.loseAnswers(random);
    crowd.act();
  }

  async function expectExact(seed: number, expected: Record<string, Totals>): Promise<void> {
    for (const gateway of gateways) gateway.keepAnswers();
    for (const { url } of gateways) {
      await until(async () => (await fetch(`${url}/readyz`)).ok, `${url} is ready`);
      await untilMetric(url, 'tallycast_pending_operations', 0);
      const totals = await readTotals(url, Object.keys(expected));
      expect({ seed, url, totals }).toEqual({ seed, url, totals: expected });
    }
    for (const watcher of watchers) {
      await watcher.untilShows(expected);
      expect({ seed, summed: watcher.summed }).toEqual({ seed, summed: expected });
    }
  }

  it.each(LOSSES)(
    `are counted exactly while answers get lost on the way to them and to the gateways (TEST_SEED=${SEED}, round %d)`,
    async (seed) => {
      const retries = await sumOfRetries(gateways);
      await begin(seed);
      let resting = false;
      const counted = Promise.all(gateways.map(({ url }) => viewUnnumbered(url, unnumbered(seed), () => resting)));
      // Should something else fail first, that is to be told and not this.
      counted.catch(() => undefined);
      await crowd.crowd.untilAcknowledgements(ENOUGH);
      // Without these nothing was lost between a commit and its answer, and the round would show nothing.
      await until(() => crowd.duplicates > 0, 'an operation that was counted is sent again');
      await until(async () => (await sumOfRetries(gateways)) > retries, 'a batch is sent again');
      await crowd.stop();
      resting = true;
      const views = (await counted).reduce((sum, count) => sum + count, 0);
      await expectExact(seed, { ...crowd.crowd.sent, [unnumbered(seed)]: { likes: 0, views } });
    },
  );

  it.each(CRASHES)(
    `are counted exactly while, besides, gateways are killed ${KILLS} times (TEST_SEED=${SEED}, round %d)`,
    async (seed) => {
      const random = new Random(seed);
      await begin(seed);
      const restarting = new Map<ProxiedGateway, Promise<void>>();
      for (let kill = 1; kill <= KILLS; kill++) {
        await crowd.crowd.untilAcknowledgements(1 + random.below(BETWEEN_KILLS_MAX));
        const gateway = random.pick(gateways.filter((gateway) => !restarting.has(gateway)));
        restarting.set(gateway, gateway.killAndRestart());
      }
      await crowd.crowd.untilAcknowledgements(CLIENTS);
      // A boot beside a crowd that never pauses takes many times as long.
      crowd.crowd.stop();
      await Promise.all(restarting.values());
      crowd.act();
      await crowd.crowd.untilAcknowledgements(CLIENTS);
      await until(() => crowd.duplicates > 0, 'an operation that was counted is sent again');
      await crowd.stop();
      await expectExact(seed, { ...crowd.crowd.sent, [unnumbered(seed)]: { likes: 0, views: 0 } });
    },
  );
});

function seeds(count: number, first: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

async function sumOfRetries(gateways: readonly ProxiedGateway[]): Promise<number> {
  const retries = await Promise.all(gateways.map(({ url }) => readMetric(url, 'tallycast_commit_retries_total')));
  return retries.reduce((sum, number) => sum + number, 0);
}

function unnumbered(seed: number): string {
  return `${seed}-unnumbered`;
}

/**
 * Views the post over and over, without session and number: whether a batch that is sent again counts again is decided
 * by its own number only. @returns how often; all has been answered
 */
async function viewUnnumbered(url: string, post: string, enough: () => boolean): Promise<number> {
  const socket = connect(url);
  let views = 0;
  while (!enough()) {
    await Promise.all(Array.from({ length: UNNUMBERED }, () => socket.emitWithAck('view', { post })));
    views += UNNUMBERED;
  }
  return views;
}
