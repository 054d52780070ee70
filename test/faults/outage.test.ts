import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { Failure } from '../../src/protocol/messages.js';
import { type Client, closeClients, connect, granted, totalsAt } from '../support/clients.js';
import { HASTY } from '../support/clients-crowd.js';
import { Flood } from '../support/clients-flood.js';
import { Watcher } from '../support/clients-watcher.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { metricAt } from '../support/metrics.js';
import { Random } from '../support/random.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { GatewaysUnderLoad } from './gateways-under-load.js';

const SOCKETS = 50;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const OUTAGE_MS = 10_000;
/** Watched beside the posts that the crowd acts on, at each gateway. */
const QUIET_POSTS = 1_600;
const QUIET_A_WATCHER = 400;
/** What a gateway takes in while the store does not answer. */
const PENDING_MAX = 50_000;
const FLOODING = 6;
const FLOOD_EACH = 10_000;
const FLOODED = FLOODING * FLOOD_EACH;
const SHED_MS = 30_000;
/** Of which an operation that waits takes about 1 KB; the rest is for the collector, which is in no hurry. */
const GROWTH_MAX_BYTES = 200 * 2 ** 20;
const LOOK_EVERY_MS = 50;
const RECOVERED_MS = 20_000;
const LIMIT_MS = 90_000;
/** What was confirmed is on disk: a kill loses none of it. */
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];
const ENV = { MAX_OPS_PER_CONNECTION: '0' };

interface Outage {
  readonly name: string;
  begin(redis: RedisServer): Promise<void>;
  end(redis: RedisServer): Promise<void>;
}

const OUTAGES: readonly Outage[] = [
  { name: 'hangs', begin: (redis) => redis.kill('SIGSTOP'), end: (redis) => redis.kill('SIGCONT') },
  { name: 'is killed, and started again', begin: (redis) => redis.kill('SIGKILL'), end: (redis) => redis.restart() },
];

/** What /healthz and /readyz of a gateway answer, each answer that differs from the one before. */
class Probes {
  readonly healthz: number[] = [];
  readonly readyz: number[] = [];
  #done: Promise<void>;
  #ended = false;

  constructor(private readonly url: string) {
    this.#done = this.#run();
  }

  async end(): Promise<void> {
    this.#ended = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    while (!this.#ended) {
      await this.#ask('healthz');
      await this.#ask('readyz');
      await lasting(LOOK_EVERY_MS);
    }
  }

  async #ask(which: 'healthz' | 'readyz'): Promise<void> {
    const { status } = await fetch(`${this.url}/${which}`);
    if (this[which].at(-1) !== status) this[which].push(status);
  }
}

describe('two gateways', () => {
  let redis: RedisServer;
  let gateways: GatewayProcess[];

  beforeAll(async () => {
    redis = await startRedis({ args: DURABLE });
    gateways = await Promise.all([0, 1].map(() => startGateway({ ...ENV, REDIS_URL: redis.url })));
  }, LIMIT_MS);

  afterAll(async () => {
    await closeClients();
    await stopAll();
    await stopRedis();
  });

  describe.each(OUTAGES)(`whose Redis $name for ${OUTAGE_MS / 1000} s (TEST_SEED=${SEED})`, (outage) => {
    const random = new Random(SEED);
    const named = (name: string, count: number): string[] =>
      Array.from({ length: count }, (_, i) => `${outage.name.slice(0, 2)}-${name}-${i}`);
    const posts = named('busy', 20);
    const quiet = named('quiet', QUIET_POSTS);
    const flooded = named('flooded', 20);
    let load: GatewaysUnderLoad;
    let quietWatchers: Watcher[];
    let probes: Probes[];
    let flood: Flood | null = null;
    /** What clients of each gateway were answered while Redis was away. */
    let acted: (Failure | { ok: true })[];
    let subscribed: (Failure | { ok: true })[];
    let shown: { readonly early: unknown; readonly late: unknown };
    let readyWhileAway: (readonly number[])[];
    let growths: number[];
    let clientsRefused: number;

    beforeAll(async () => {
      const urls = gateways.map(({ url }) => url);
      load = new GatewaysUnderLoad(urls, posts, SOCKETS, random);
      await Promise.all(load.watchers.map((watcher) => watcher.untilSubscribed()));
      quietWatchers = await watchersOf(urls, quiet);
      const actors = urls.map((url) => connect(url, { actor: 'ann', session: randomUUID() }, HASTY));
      const enough = load.crowd.acknowledgements(SOCKETS * 10);
      load.crowd.act();
      await enough;
      const before = await memory();
      probes = urls.map((url) => new Probes(url));
      await until(() => probes.every(({ readyz }) => readyz.length === 1), 'looked at');

      await outage.begin(redis);
      const lasted = lasting(OUTAGE_MS);
      await until(() => probes.every(({ readyz }) => readyz.at(-1) === 503), 'unready');
      const answers = Promise.all(actors.map((actor) => actor.emitWithAck('view', { post: 'asked', seq: 1 })));
      const snapshots = Promise.all(load.watchers.map(({ socket }) => subscribe(socket, [posts[0]!, 'unknown'])));
      flood = await Flood.begin(urls[0]!, FLOODING, FLOOD_EACH, flooded);
      await flood.poured;
      await until(() => shed() >= FLOODED - PENDING_MAX, 'what is too much is shed', SHED_MS);
      acted = await answers;
      subscribed = await snapshots;
      // Seconds after the last commit: its frames have come.
      const early = totalsShown();
      await until(() => load.crowd.clients.every(({ refusals }) => refusals > 0), 'everyone is told');
      await lasted;
      clientsRefused = load.crowd.clients.filter(({ refusals }) => refusals > 0).length;
      shown = { early, late: totalsShown() };
      readyWhileAway = probes.map(({ readyz }) => [...readyz]);
      growths = (await memory()).map((bytes, i) => bytes - before[i]!);
      await outage.end(redis);
    }, LIMIT_MS);

    afterAll(async () => {
      flood?.close();
      await closeClients();
    });

    it('answer those who act UNAVAILABLE, to be tried again', () => {
      const unavailable = expect.objectContaining({ code: 'UNAVAILABLE', retryable: true });
      expect(acted).toEqual(gateways.map(() => ({ ok: false, error: unavailable })));
      expect(clientsRefused).toBe(SOCKETS);
    });

    it('answer those who begin to watch UNAVAILABLE, and leave those alone who do', () => {
      const unavailable = expect.objectContaining({ code: 'UNAVAILABLE', retryable: true });
      expect(subscribed).toEqual(gateways.map(() => ({ ok: false, error: unavailable })));
      expect(shown.late).toEqual(shown.early);
    });

    it('grow by a bounded amount, and shed what comes on top', async () => {
      process.stderr.write(`Redis ${outage.name}: gateways grew by ${growths.map(mebibytes).join(' and ')} MiB\n`);
      for (const growth of growths) expect(growth).toBeLessThan(GROWTH_MAX_BYTES);
      await until(() => flood!.answered === FLOODED, 'the flood is answered', RECOVERED_MS);
      expect(flood!.count('OVERLOADED')).toBeGreaterThan(0);
      expect(taken() + shed()).toBe(FLOODED);
    });

    it(
      'get over it by themselves, exactly, and nobody was disconnected',
      async () => {
        await load.expectExact({ outage: outage.name });
        await until(() => probes.every(({ readyz }) => readyz.at(-1) === 200), 'ready', RECOVERED_MS);
        for (const { url } of gateways) {
          await until(async () => (await metricAt(url, 'tallycast_pending_operations')) === 0, 'done', RECOVERED_MS);
        }
        for (const { url } of gateways) {
          const totals = Object.values(await totalsAt(url, flooded));
          expect(totals.reduce((sum, { views }) => sum + views, 0)).toBe(taken());
        }
        expect(load.errors.disconnects).toBe(0);
      },
      LIMIT_MS,
    );

    it('tell of every post again that is watched', async () => {
      const actor = connect(gateways[0]!.url);
      const some = Array.from({ length: 50 }, () => random.pick(quiet));
      for (const post of some) granted(await actor.emitWithAck('view', { post }));
      const isShown = ({ known, posts }: Watcher): boolean =>
        some.every((post) => !posts.includes(post) || Number(known.get(post)?.['views']) > 0);
      await Promise.all(quietWatchers.map((watcher) => watcher.until(() => isShown(watcher))));
    });

    it('are alive all the time, not ready while it is away, and ready in the end', async () => {
      expect(readyWhileAway).toEqual(gateways.map(() => [200, 503]));
      await until(() => probes.every(({ readyz }) => readyz.at(-1) === 200), 'ready', RECOVERED_MS);
      await Promise.all(probes.map((probe) => probe.end()));
      expect(probes.map(({ healthz }) => healthz)).toEqual(gateways.map(() => [200]));
      process.stderr.write(
        `Redis ${outage.name}: /readyz said ${probes.map(({ readyz }) => readyz.join(', ')).join(' and ')}\n`,
      );
    });

    /** Told that nothing was counted. */
    function shed(): number {
      return flood!.count('OVERLOADED') + flood!.count('RATE_LIMITED');
    }

    function taken(): number {
      return flood!.count('ok') + flood!.count('UNAVAILABLE');
    }

    function totalsShown(): unknown {
      return load.watchers.map(({ totals }) => totals);
    }
  });

  function memory(): Promise<number[]> {
    return Promise.all(gateways.map(({ url }) => metricAt(url, 'process_resident_memory_bytes')));
  }
});

/** One after the other: all of them at once is no outage. */
async function watchersOf(urls: readonly string[], posts: readonly string[]): Promise<Watcher[]> {
  const watchers: Watcher[] = [];
  for (const url of urls) {
    for (let first = 0; first < posts.length; first += QUIET_A_WATCHER) {
      const watcher = new Watcher(url, posts.slice(first, first + QUIET_A_WATCHER), HASTY);
      await watcher.untilSubscribed();
      watchers.push(watcher);
    }
  }
  return watchers;
}

async function subscribe(socket: Client, posts: readonly string[]): Promise<Failure | { ok: true }> {
  const answer = await socket.emitWithAck('subscribe', { posts });
  return answer.ok ? { ok: true } : answer;
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}

/** Not a wait for anything: an outage lasts. */
function lasting(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
