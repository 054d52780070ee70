import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { Failure } from '../../src/protocol/messages.js';
import { LIMIT_MS } from '../property/runs.js';
import { type Client, closeClients, connect, expectOk, readTotals } from '../support/clients.js';
import { FAST_RECONNECT } from '../support/clients-crowd.js';
import { Flood } from '../support/clients-flood.js';
import { TestViewer } from '../support/clients-viewer.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric, untilMetric } from '../support/metrics.js';
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
/** Of which an operation that waits takes about 1 KB; the rest is for the collector, which is in no hurry. */
const GROWTH_MAX_BYTES = 200 * 2 ** 20;
const LOOK_EVERY_MS = 50;
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

/** Two gateways that share a Redis, which goes away for a while. */
class OutageRun {
  /** Answers that clients of each gateway got while Redis was down. */
  acted: (Failure | { ok: true })[] = [];
  subscribed: (Failure | { ok: true })[] = [];
  shown: { readonly early: unknown; readonly late: unknown } = { early: null, late: null };
  readyWhileAway: (readonly number[])[] = [];
  growths: number[] = [];
  clientsRefused = 0;
  flood!: Flood;
  quietWatchers: TestViewer[] = [];
  readonly random = new Random(SEED);
  readonly quiet = named('quiet', QUIET_POSTS);
  readonly flooded = named('flooded', 20);

  private constructor(
    readonly gateways: readonly GatewayProcess[],
    private readonly redis: RedisServer,
    readonly load: GatewaysUnderLoad,
    readonly probes: readonly Probes[],
  ) {}

  static async of(outage: Outage): Promise<OutageRun> {
    const redis = await startRedis({ args: DURABLE });
    const gateways = await Promise.all([0, 1].map(() => startGateway({ ...ENV, REDIS_URL: redis.url })));
    const urls = gateways.map(({ url }) => url);
    const load = new GatewaysUnderLoad(urls, named('busy', 20), SOCKETS, new Random(SEED));
    const probes = urls.map((url) => new Probes(url));
    const run = new OutageRun(gateways, redis, load, probes);
    await run.#take(outage);
    return run;
  }

  get urls(): string[] {
    return this.gateways.map(({ url }) => url);
  }

  /** Told that nothing was counted. */
  get shed(): number {
    return this.flood.count('OVERLOADED') + this.flood.count('RATE_LIMITED');
  }

  get taken(): number {
    return this.flood.count('ok') + this.flood.count('UNAVAILABLE');
  }

  async #take(outage: Outage): Promise<void> {
    const { urls, load, probes, redis } = this;
    await Promise.all(load.watchers.map((watcher) => watcher.untilSubscribed()));
    this.quietWatchers = await watchersOf(urls, this.quiet);
    const actors = urls.map((url) => connect(url, { actor: 'ann', session: randomUUID() }, FAST_RECONNECT));
    const enough = load.crowd.untilAcknowledgements(SOCKETS * 10);
    load.crowd.act();
    await enough;
    const before = await this.#memory();
    await until(() => probes.every(({ readyz }) => readyz.length === 1), 'looked at');

    await outage.begin(redis);
    const lasted = lasting(OUTAGE_MS);
    await until(() => probes.every(({ readyz }) => readyz.at(-1) === 503), 'unready');
    const answers = Promise.all(actors.map((actor) => actor.emitWithAck('view', { post: 'asked', seq: 1 })));
    const snapshots = Promise.all(load.watchers.map(({ socket }) => subscribe(socket, ['busy-0', 'unknown'])));
    this.flood = await Flood.start(urls[0]!, FLOODING, FLOOD_EACH, this.flooded);
    await this.flood.written;
    await until(() => this.shed >= FLOODED - PENDING_MAX, 'what is too much is shed');
    this.acted = await answers;
    this.subscribed = await snapshots;
    await until(() => load.crowd.clients.every(({ rejections }) => rejections > 0), 'everyone is told');
    // Seconds after the last commit: its frames have come.
    const early = this.#totalsShown();
    await lasted;
    this.clientsRefused = load.crowd.clients.filter(({ rejections }) => rejections > 0).length;
    this.shown = { early, late: this.#totalsShown() };
    this.readyWhileAway = probes.map(({ readyz }) => [...readyz]);
    this.growths = (await this.#memory()).map((bytes, i) => bytes - before[i]!);
    await outage.end(redis);
  }

  #totalsShown(): unknown {
    return this.load.watchers.map(({ totals }) => totals);
  }

  #memory(): Promise<number[]> {
    return Promise.all(this.urls.map((url) => readMetric(url, 'process_resident_memory_bytes')));
  }
}

describe.each(OUTAGES.map((outage, i) => ({ ...outage, i })))(
  `two gateways whose Redis $name for ${OUTAGE_MS / 1000} s (TEST_SEED=${SEED})`,
  ({ name, i }) => {
    const unavailable = expect.objectContaining({ code: 'UNAVAILABLE', retryable: true });
    let run: OutageRun;

    beforeAll(async () => {
      run = await runs()[i]!;
    }, LIMIT_MS);

    afterAll(() => run.flood.close());

    it('answer those who act UNAVAILABLE, to be tried again', () => {
      expect(run.acted).toEqual(run.urls.map(() => ({ ok: false, error: unavailable })));
      expect(run.clientsRefused).toBe(SOCKETS);
    });

    it('answer those who begin to watch UNAVAILABLE, and leave those alone who do', () => {
      expect(run.subscribed).toEqual(run.urls.map(() => ({ ok: false, error: unavailable })));
      expect(run.shown.late).toEqual(run.shown.early);
    });

    it('grow by a bounded amount, and shed what comes on top', async () => {
      process.stderr.write(`Redis ${name}: gateways grew by ${run.growths.map(mebibytes).join(' and ')} MiB\n`);
      for (const growth of run.growths) expect(growth).toBeLessThan(GROWTH_MAX_BYTES);
      await until(() => run.flood.acknowledged === FLOODED, 'the flood is answered');
      expect(run.flood.count('OVERLOADED')).toBeGreaterThan(0);
      expect(run.taken + run.shed).toBe(FLOODED);
    });

    it('get over it by themselves, exactly, and nobody was disconnected', async () => {
      await run.load.expectExact({ outage: name });
      await until(() => run.probes.every(({ readyz }) => readyz.at(-1) === 200), 'ready');
      for (const url of run.urls) await untilMetric(url, 'tallycast_pending_operations', 0);
      for (const url of run.urls) {
        const totals = Object.values(await readTotals(url, run.flooded));
        expect(totals.reduce((sum, { views }) => sum + views, 0)).toBe(run.taken);
      }
      expect(run.load.errors.disconnects).toBe(0);
    });

    it('tell of every post again that is watched', async () => {
      const actor = connect(run.urls[0]!);
      const some = Array.from({ length: 50 }, () => run.random.pick(run.quiet));
      for (const post of some) expectOk(await actor.emitWithAck('view', { post }));
      const isShown = ({ latest, posts }: TestViewer): boolean =>
        some.every((post) => !posts.includes(post) || Number(latest.get(post)?.['views']) > 0);
      await Promise.all(run.quietWatchers.map((watcher) => watcher.until(() => isShown(watcher))));
    });

    it('are alive all the time, not ready while it is away, and ready in the end', async () => {
      expect(run.readyWhileAway).toEqual(run.urls.map(() => [200, 503]));
      await until(() => run.probes.every(({ readyz }) => readyz.at(-1) === 200), 'ready');
      await Promise.all(run.probes.map((probe) => probe.end()));
      expect(run.probes.map(({ healthz }) => healthz)).toEqual(run.urls.map(() => [200]));
      process.stderr.write(
        `Redis ${name}: /readyz said ${run.probes.map(({ readyz }) => readyz.join(', ')).join(' and ')}\n`,
      );
    });
  },
);

afterAll(async () => {
  await closeClients();
  await stopAll();
  await stopRedis();
});

let begun: readonly Promise<OutageRun>[] | null = null;

/** All at once, for an outage is mostly waiting. */
function runs(): readonly Promise<OutageRun>[] {
  if (begun === null) {
    begun = OUTAGES.map((outage) => OutageRun.of(outage));
    // A failure is reported where the promise is awaited.
    for (const one of begun) one.catch(() => undefined);
  }
  return begun;
}

function named(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${name}-${i}`);
}

/** One after the other: all of them at once is no outage. */
async function watchersOf(urls: readonly string[], posts: readonly string[]): Promise<TestViewer[]> {
  const watchers: TestViewer[] = [];
  for (const url of urls) {
    for (let first = 0; first < posts.length; first += QUIET_A_WATCHER) {
      const watcher = new TestViewer(url, posts.slice(first, first + QUIET_A_WATCHER), FAST_RECONNECT);
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
