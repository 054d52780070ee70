import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { groupBy } from '../../src/common/grouping.js';
import { ACTOR_KEYS } from '../../src/counters/ids.js';
import { SCALE } from '../property/runs.js';
import { closeClients, connect, readTotals, type Totals } from '../support/clients.js';
import { type Visit, visitPage } from '../support/clients-reloading.js';
import { FAST_RECONNECT } from '../support/clients-crowd.js';
import { HoppingCrowd } from '../support/clients-hopping.js';
import { TestViewer } from '../support/clients-viewer.js';
import { endProxied, type ProxiedGateway, startProxied } from '../support/gateway-proxied.js';
import { readMetric, untilMetric } from '../support/metrics.js';
import { Random } from '../support/random.js';
import { until } from '../support/until.js';

const GATEWAYS = 4;
const CLIENTS = 80;
const POSTS = 20;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const LOSSES = buildSeeds(SCALE, SEED);
const CRASHES = buildSeeds(SCALE, SEED + LOSSES.length);
const KILLS = 2;
/** Acknowledgements in a round. */
const ENOUGH = 600;
/** Acknowledgements between two kills, at most. */
const BETWEEN_KILLS_MAX = 300;
/** Views without a `seq` that are sent at once. */
const WITHOUT_SEQ = 5;
const UNIQUES = ['readers', 'reads'];
const OPTIONS = ['yes', 'no', 'maybe'];
const METRICS = `likes:toggle,views:tally,readers:unique,reads:unique@30m,${OPTIONS.map((name) => `${name}:choice@vote`).join()}`;
const ENV = { MAX_OPS_PER_CONNECTION: '0', ACTOR_KEYS: new Random(SEED).pick(ACTOR_KEYS), METRICS };
/** Pages that are open at once, of fewer actors. */
const PAGES = 200;
const READERS = 120;
const RELOADS = 2;
const PAGED_POSTS = 5;

describe(`${CLIENTS} clients that hop between ${GATEWAYS} gateways on one Redis`, () => {
  let gateways: ProxiedGateway[] = [];
  let running: HoppingCrowd | null = null;
  let viewers: TestViewer[];

  beforeAll(async () => {
    gateways = await startProxied(GATEWAYS, ENV);
  });

  afterEach(async () => {
    running?.stopHopping();
    for (const gateway of gateways) gateway.keepAnswers();
    await closeClients();
  });

  afterAll(() => endProxied(gateways));

  /** Starts a crowd with new posts and sessions, so that no round depends on the one before. */
  async function begin(seed: number): Promise<HoppingCrowd> {
    const random = new Random(seed);
    const posts = Array.from({ length: POSTS }, (_, i) => `${seed}-${i}`);
    viewers = gateways.map(({ url }) => new TestViewer(url, [...posts, buildPostWithoutSeq(seed)], FAST_RECONNECT));
    await Promise.all(viewers.map((viewer) => viewer.untilSubscribed()));
    const crowd = new HoppingCrowd(
      gateways.map(({ clientUrl }) => clientUrl),
      CLIENTS,
      posts,
      random,
    );
    for (const gateway of gateways) gateway.loseAnswers(random);
    running = crowd;
    crowd.act();
    return crowd;
  }

  async function expectExact(seed: number, expected: Record<string, Totals>): Promise<void> {
    for (const gateway of gateways) gateway.keepAnswers();
    for (const { url } of gateways) {
      await until(async () => (await fetch(`${url}/readyz`)).ok, `${url} is ready`);
      await untilMetric(url, 'tallycast_pending_operations', 0);
      const totals = await readTotals(url, Object.keys(expected));
      expect({ seed, url, totals }).toEqual({ seed, url, totals: expected });
    }
    for (const viewer of viewers) {
      await viewer.untilShows(expected);
      expect({ seed, summed: viewer.summed }).toEqual({ seed, summed: expected });
    }
  }

  it.each(LOSSES)(
    `operations are counted exactly while responses to clients and replies to gateways are lost (TEST_SEED=${SEED}, round %d)`,
    async (seed) => {
      const retries = await sumRetries(gateways);
      const crowd = await begin(seed);
      let isOver = false;
      const counted = Promise.all(
        gateways.map(({ url }) => viewWithoutSeq(url, buildPostWithoutSeq(seed), () => isOver)),
      );
      // Another failure that comes first is the one to report.
      counted.catch(() => undefined);
      await crowd.crowd.untilAcknowledgements(ENOUGH);
      // Without retries no reply to a commit was lost, and the round would prove nothing.
      await until(() => crowd.duplicates > 0, 'a counted operation is retried');
      await until(async () => (await sumRetries(gateways)) > retries, 'a batch is retried');
      await crowd.stop();
      isOver = true;
      const views = (await counted).reduce((sum, count) => sum + count, 0);
      await expectExact(seed, { ...crowd.crowd.sent, [buildPostWithoutSeq(seed)]: { likes: 0, views } });
    },
  );

  it.each(LOSSES)(
    `uniques count each actor once, and a vote has one option, while pages are reloaded (TEST_SEED=${SEED}, round %d)`,
    async (seed) => {
      const random = new Random(seed);
      const posts = Array.from({ length: PAGED_POSTS }, (_, i) => `${seed}-page-${i}`);
      const urls = gateways.map(({ clientUrl }) => clientUrl);
      for (const gateway of gateways) gateway.loseAnswers(random);
      const pages = Array.from({ length: PAGES }, async (_, i) => {
        const visits: Visit[] = [];
        const client = { urls, actor: String(i % READERS), options: OPTIONS, random };
        for (let load = 0; load <= RELOADS; load++) visits.push(await visitPage(client, random.pick(posts)));
        return visits;
      });
      const visits = (await Promise.all(pages)).flat();
      expect(visits.some(({ attempts }) => attempts > 2)).toBe(true);
      expect(visits.some(({ duplicates }) => duplicates > 0)).toBe(true);
      for (const gateway of gateways) gateway.keepAnswers();
      expect(findTwiceCounted(visits)).toEqual([]);
      const expected = countReaders(visits);
      for (const { url } of gateways) {
        await until(async () => (await fetch(`${url}/readyz`)).ok, `${url} is ready`);
        expect({ seed, url, counts: await readReaders(url, posts) }).toEqual({ seed, url, counts: expected });
      }
    },
  );

  it.each(CRASHES)(
    `operations are counted exactly while, besides, gateways are killed ${KILLS} times (TEST_SEED=${SEED}, round %d)`,
    async (seed) => {
      const random = new Random(seed);
      const crowd = await begin(seed);
      const restarting = new Map<ProxiedGateway, Promise<void>>();
      for (let kill = 1; kill <= KILLS; kill++) {
        await crowd.crowd.untilAcknowledgements(1 + random.below(BETWEEN_KILLS_MAX));
        const gateway = random.pick(gateways.filter((gateway) => !restarting.has(gateway)));
        restarting.set(gateway, gateway.killAndRestart());
      }
      await crowd.crowd.untilAcknowledgements(CLIENTS);
      // A boot takes many times as long while the crowd acts.
      crowd.crowd.stop();
      await Promise.all(restarting.values());
      crowd.act();
      await crowd.crowd.untilAcknowledgements(CLIENTS);
      await until(() => crowd.duplicates > 0, 'a counted operation is retried');
      await crowd.stop();
      await expectExact(seed, { ...crowd.crowd.sent, [buildPostWithoutSeq(seed)]: { likes: 0, views: 0 } });
    },
  );
});

function buildSeeds(count: number, first: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

async function sumRetries(gateways: readonly ProxiedGateway[]): Promise<number> {
  const retries = await Promise.all(gateways.map(({ url }) => readMetric(url, 'tallycast_commit_retries_total')));
  return retries.reduce((sum, number) => sum + number, 0);
}

/** Counts the actors of each post, as all of its counts are to show them. */
function countReaders(visits: readonly Visit[]): Record<string, number[]> {
  const byPost = groupBy(visits, ({ post }) => post);
  return Object.fromEntries(
    [...byPost].map(([post, ofPost]) => {
      const actors = new Set(ofPost.map(({ actor }) => actor)).size;
      return [post, [actors, actors, actors]];
    }),
  );
}

/** Actors that were acknowledged twice as counted in a unique of a post. */
function findTwiceCounted(visits: readonly Visit[]): string[] {
  const counted = visits.flatMap(({ actor, post, applied }) =>
    applied.filter((metric) => UNIQUES.includes(metric)).map((metric) => `${actor} ${post} ${metric}`),
  );
  return counted.filter((one, i) => counted.indexOf(one) < i);
}

/** The readers of each post, its reads, and its votes for any option. */
async function readReaders(url: string, posts: readonly string[]): Promise<Record<string, number[]>> {
  const { counts } = (await (await fetch(`${url}/v1/counts?posts=${posts.join()}`)).json()) as {
    counts: readonly Readonly<Record<string, string | number>>[];
  };
  return Object.fromEntries(
    counts.map((row): [string, number[]] => {
      const votes = OPTIONS.reduce((sum, option) => sum + Number(row[option]), 0);
      return [String(row['post']), [Number(row['readers']), Number(row['reads']), votes]];
    }),
  );
}

function buildPostWithoutSeq(seed: number): string {
  return `${seed}-without-seq`;
}

/**
 * Views the post repeatedly without session and `seq`: only the batch number decides whether a retried batch counts
 * again. @returns the number of views, all acknowledged
 */
async function viewWithoutSeq(url: string, post: string, isEnough: () => boolean): Promise<number> {
  const socket = connect(url);
  let views = 0;
  while (!isEnough()) {
    await Promise.all(Array.from({ length: WITHOUT_SEQ }, () => socket.emitWithAck('view', { post })));
    views += WITHOUT_SEQ;
  }
  return views;
}
