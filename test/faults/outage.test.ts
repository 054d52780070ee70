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

const SOCKETS = 20;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const OUTAGE_MS = 10_000;
/** Posts that are watched at each gateway, and on which the crowd does not act. */
const IDLE_POSTS = 1_600;
const IDLE_POSTS_A_VIEWER = 400;
/** Operations that a gateway accepts while the store does not reply. */
const PENDING_MAX = 50_000;
const FLOODING = 6;
const FLOOD_EACH = 10_000;
const FLOODED = FLOODING * FLOOD_EACH;
/** A waiting operation takes about 1 KB of it. The rest is garbage that is not yet collected. */
const GROWTH_MAX_BYTES = 200 * 2 ** 20;
const PROBE_INTERVAL_MS = 250;
/** Every commit is on disk before Redis replies, so that a kill loses none. */
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];
const ENV = { MAX_OPS_PER_CONNECTION: '0' };

interface Outage {
  readonly name: string;
  begin(redis: RedisServer): Promise<void>;
  end(redis: RedisServer): Promise<void>;
}

const OUTAGES: readonly Outage[] = [
  { name: 'hangs', begin: (redis) => redis.kill('SIGSTOP'), end: (redis) => redis.kill('SIGCONT') },
  { name: 'is killed and restarted', begin: (redis) => redis.kill('SIGKILL'), end: (redis) => redis.restart() },
];

/** Polls /healthz and /readyz of a gateway, and records each status that differs from the one before. */
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
      await this.#probe('healthz');
      await this.#probe('readyz');
      await delay(PROBE_INTERVAL_MS);
    }
  }

  async #probe(which: 'healthz' | 'readyz'): Promise<void> {
    const { status } = await fetch(`${this.url}/${which}`);
    if (this[which].at(-1) !== status) this[which].push(status);
  }
}

/** Two gateways that share a Redis, which is down for a while. */
class OutageRun {
  /** Acknowledgements that clients of each gateway got while Redis was down. */
  acknowledgements: (Failure | { ok: true })[] = [];
  subscribed: (Failure | { ok: true })[] = [];
  shown: { readonly early: unknown; readonly late: unknown } = { early: null, late: null };
  readyWhileDown: (readonly number[])[] = [];
  growths: number[] = [];
  rejectedClients = 0;
  flood!: Flood;
  idleViewers: TestViewer[] = [];
  readonly random = new Random(SEED);
  readonly idlePosts = buildPosts('idle', IDLE_POSTS);
  readonly flooded = buildPosts('flooded', 20);

  private constructor(
    readonly gateways: readonly GatewayProcess[],
    private readonly redis: RedisServer,
    readonly load: GatewaysUnderLoad,
    readonly probes: readonly Probes[],
  ) {}

  static async start(outage: Outage): Promise<OutageRun> {
    const redis = await startRedis({ args: DURABLE });
    const gateways = await Promise.all([0, 1].map(() => startGateway({ ...ENV, REDIS_URL: redis.url })));
    const urls = gateways.map(({ url }) => url);
    const load = new GatewaysUnderLoad(urls, buildPosts('busy', 20), SOCKETS, new Random(SEED));
    const probes = urls.map((url) => new Probes(url));
    const run = new OutageRun(gateways, redis, load, probes);
    await run.#run(outage);
    return run;
  }

  get urls(): string[] {
    return this.gateways.map(({ url }) => url);
  }

  /** Operations that were rejected before they waited, so that none is counted. */
  get shed(): number {
    return this.flood.count('OVERLOADED') + this.flood.count('RATE_LIMITED');
  }

  get accepted(): number {
    return this.flood.count('ok') + this.flood.count('UNAVAILABLE');
  }

  async #run(outage: Outage): Promise<void> {
    const { urls, load, probes, redis } = this;
    await Promise.all(load.viewers.map((viewer) => viewer.untilSubscribed()));
    this.idleViewers = await openViewers(urls, this.idlePosts);
    const actors = urls.map((url) => connect(url, { actor: 'ann', session: randomUUID() }, FAST_RECONNECT));
    const enough = load.crowd.untilAcknowledgements(SOCKETS * 10);
    load.crowd.act();
    await enough;
    const before = await this.#memory();
    await until(() => probes.every(({ readyz }) => readyz.length === 1), 'both gateways are probed');

    await outage.begin(redis);
    const elapsed = delay(OUTAGE_MS);
    await until(() => probes.every(({ readyz }) => readyz.at(-1) === 503), 'both gateways are unready');
    const acknowledgements = Promise.all(
      actors.map((actor) => actor.emitWithAck('view', { post: 'acted-on', seq: 1 })),
    );
    const snapshots = Promise.all(load.viewers.map(({ socket }) => subscribe(socket, ['busy-0', 'unknown'])));
    this.flood = await Flood.start(urls[0]!, FLOODING, FLOOD_EACH, this.flooded);
    await this.flood.written;
    await until(() => this.shed >= FLOODED - PENDING_MAX, 'the gateway sheds the excess');
    this.acknowledgements = await acknowledgements;
    this.subscribed = await snapshots;
    await until(() => load.crowd.clients.every(({ rejections }) => rejections > 0), 'every client has a rejection');
    // The last commit was seconds ago, so its frames have arrived.
    const early = this.#totalsShown();
    await elapsed;
    this.rejectedClients = load.crowd.clients.filter(({ rejections }) => rejections > 0).length;
    this.shown = { early, late: this.#totalsShown() };
    this.readyWhileDown = probes.map(({ readyz }) => [...readyz]);
    this.growths = (await this.#memory()).map((bytes, i) => bytes - before[i]!);
    await outage.end(redis);
  }

  #totalsShown(): unknown {
    return this.load.viewers.map(({ totals }) => totals);
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
      run = await startRuns()[i]!;
    }, LIMIT_MS);

    afterAll(() => run.flood.close());

    it('operations are rejected with UNAVAILABLE, which is retryable', () => {
      expect(run.acknowledgements).toEqual(run.urls.map(() => ({ ok: false, error: unavailable })));
      expect(run.rejectedClients).toBe(SOCKETS);
    });

    it('new subscriptions are rejected with UNAVAILABLE, and present viewers keep their counts', () => {
      expect(run.subscribed).toEqual(run.urls.map(() => ({ ok: false, error: unavailable })));
      expect(run.shown.late).toEqual(run.shown.early);
    });

    it('the gateways use bounded memory and shed the excess', async () => {
      process.stderr.write(`Redis ${name}: gateways grew by ${run.growths.map(toMebibytes).join(' and ')} MiB\n`);
      for (const growth of run.growths) expect(growth).toBeLessThan(GROWTH_MAX_BYTES);
      await until(() => run.flood.acknowledged === FLOODED, 'the flood is acknowledged');
      expect(run.flood.count('OVERLOADED')).toBeGreaterThan(0);
      expect(run.accepted + run.shed).toBe(FLOODED);
    });

    it('the gateways recover with exact counts and without a disconnect', async () => {
      await run.load.expectExact({ outage: name });
      await until(() => run.probes.every(({ readyz }) => readyz.at(-1) === 200), 'both gateways are ready');
      for (const url of run.urls) await untilMetric(url, 'tallycast_pending_operations', 0);
      for (const url of run.urls) {
        const totals = Object.values(await readTotals(url, run.flooded));
        expect(totals.reduce((sum, { views }) => sum + views, 0)).toBe(run.accepted);
      }
      expect(run.load.errors.disconnects).toBe(0);
    });

    it('viewers of idle posts get changes again', async () => {
      const actor = connect(run.urls[0]!);
      const some = Array.from({ length: 50 }, () => run.random.pick(run.idlePosts));
      for (const post of some) expectOk(await actor.emitWithAck('view', { post }));
      const isShown = ({ latest, posts }: TestViewer): boolean =>
        some.every((post) => !posts.includes(post) || Number(latest.get(post)?.['views']) > 0);
      await Promise.all(run.idleViewers.map((viewer) => viewer.until(() => isShown(viewer))));
    });

    it('the gateways are alive all the time, unready while Redis is down and ready afterwards', async () => {
      expect(run.readyWhileDown).toEqual(run.urls.map(() => [200, 503]));
      await until(() => run.probes.every(({ readyz }) => readyz.at(-1) === 200), 'both gateways are ready');
      await Promise.all(run.probes.map((probe) => probe.end()));
      expect(run.probes.map(({ healthz }) => healthz)).toEqual(run.urls.map(() => [200]));
      process.stderr.write(
        `Redis ${name}: /readyz was ${run.probes.map(({ readyz }) => readyz.join(', ')).join(' and ')}\n`,
      );
    });
  },
);

afterAll(async () => {
  await closeClients();
  await stopAll();
  await stopRedis();
});

let started: readonly Promise<OutageRun>[] | null = null;

/** All outages run at once, because an outage is mostly waiting. */
function startRuns(): readonly Promise<OutageRun>[] {
  if (started === null) {
    started = OUTAGES.map((outage) => OutageRun.start(outage));
    // A failure is reported where the promise is awaited.
    for (const one of started) one.catch(() => undefined);
  }
  return started;
}

function buildPosts(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${name}-${i}`);
}

/** Viewers subscribe one after the other. All at once would be an overload, which is not the subject of this test. */
async function openViewers(urls: readonly string[], posts: readonly string[]): Promise<TestViewer[]> {
  const viewers: TestViewer[] = [];
  for (const url of urls) {
    for (let first = 0; first < posts.length; first += IDLE_POSTS_A_VIEWER) {
      const viewer = new TestViewer(url, posts.slice(first, first + IDLE_POSTS_A_VIEWER), FAST_RECONNECT);
      await viewer.untilSubscribed();
      viewers.push(viewer);
    }
  }
  return viewers;
}

async function subscribe(socket: Client, posts: readonly string[]): Promise<Failure | { ok: true }> {
  const reply = await socket.emitWithAck('subscribe', { posts });
  return reply.ok ? { ok: true } : reply;
}

function toMebibytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}

/** Waits for no event, because an outage has a duration. */
function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
