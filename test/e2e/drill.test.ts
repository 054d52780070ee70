import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { freePort } from '../support/free-port.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { Random } from '../support/random.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

const SEED = Number(process.env['TEST_SEED'] ?? 1);
const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const REGIONS = ['eu', 'us', 'ap'] as const;
const PEER_TOKEN = 'a-token-of-this-test';
const BOTH_WAYS = 3;
/** Random cuts, of the 64 that six cables allow, besides those of both directions. */
const ONE_WAY_CUTS = 6 * SCALE;

/** Carries the calls of `from` to `to`. */
interface Cable {
  readonly from: number;
  readonly to: number;
  readonly proxy: TcpProxy;
}

interface Link {
  readonly region: string;
  readonly up: boolean;
  readonly incarnationsStarted: number;
}

interface Counts {
  readonly likes: number;
  readonly views: number;
}

const random = new Random(SEED);
let gateways: GatewayProcess[] = [];
let cables: Cable[] = [];
let cases = 0;

const WAYS = REGIONS.flatMap((from) => REGIONS.filter((to) => to !== from).map((to) => `${from}→${to}`));
const PAIRS = [
  ['eu→us', 'us→eu'],
  ['eu→ap', 'ap→eu'],
  ['us→ap', 'ap→us'],
] as const;
const CUTS: (readonly string[])[] = [
  ...Array.from({ length: 2 ** BOTH_WAYS }, (_, bits) => PAIRS.filter((_, i) => (bits >> i) % 2 === 1).flat()),
  ...Array.from({ length: ONE_WAY_CUTS }, () => WAYS.filter(() => random.chance(0.5))),
];

async function startRegions(stores: readonly Record<string, string>[]): Promise<void> {
  const ports = [await freePort(), await freePort(), await freePort()];
  for (const from of REGIONS.keys()) {
    for (const to of REGIONS.keys()) {
      if (to !== from) cables.push({ from, to, proxy: await startProxy({ port: ports[to]! }) });
    }
  }
  gateways = await Promise.all(
    REGIONS.map((REGION, i) => {
      const peers = cables.filter(({ from }) => from === i);
      const PEERS = peers.map(({ to, proxy }) => `${REGIONS[to]!}=http://127.0.0.1:${proxy.port}`).join();
      return startGateway({ REGION, PEERS, PEER_TOKEN, PORT: String(ports[i]), ...stores[i] });
    }),
  );
  for (const i of REGIONS.keys()) await waitUntilLinked(i, () => true);
}

async function stopRegions(): Promise<void> {
  await stopAll();
  await stopRedis();
  await Promise.all(cables.map(({ proxy }) => proxy.close()));
  cables = [];
}

function formatCable({ from, to }: Cable): string {
  return `${REGIONS[from]!}→${REGIONS[to]!}`;
}

async function readLinks(region: number): Promise<readonly Link[]> {
  const response = await fetch(`${gateways[region]!.url}/v1/regions`);
  return ((await response.json()) as { peers: readonly Link[] }).peers;
}

/** Resolves when the region reports exactly these links as up. */
async function waitUntilLinked(region: number, isUp: (to: string) => boolean): Promise<void> {
  await until(
    async () => (await readLinks(region)).every(({ region: to, up }) => up === isUp(to)),
    `${REGIONS[region]!} reports the links that are up`,
  );
}

async function readCounts(region: number, post: string): Promise<Counts> {
  const response = await fetch(`${gateways[region]!.url}/v1/counts?posts=${post}`);
  const { counts } = (await response.json()) as { counts: readonly [Counts] };
  return { likes: counts[0].likes, views: counts[0].views };
}

function readAllCounts(post: string): Promise<Counts[]> {
  return Promise.all(REGIONS.map((_, i) => readCounts(i, post)));
}

async function put(region: number, post: string, metric: 'likes' | 'views', actor: string): Promise<void> {
  const headers = { 'Content-Type': 'application/json', 'Actor-Id': actor };
  const body = '{"action":"increment"}';
  const response = await fetch(`${gateways[region]!.url}/v1/${post}/${metric}`, { method: 'PUT', headers, body });
  expect(response.status).toBe(200);
}

/** One like by an actor that likes in every region, likes by other actors, and views. */
async function count(region: number, post: string, own: Counts): Promise<void> {
  const likers = ['everybody', ...Array.from({ length: own.likes - 1 }, (_, i) => `${REGIONS[region]!}-${cases}-${i}`)];
  for (const actor of likers) await put(region, post, 'likes', actor);
  for (let i = 0; i < own.views; i++) await put(region, post, 'views', 'a reader');
}

function sum(counts: readonly Counts[]): Counts {
  return {
    likes: 1 + counts.reduce((all, { likes }) => all + likes - 1, 0),
    views: counts.reduce((all, { views }) => all + views, 0),
  };
}

async function waitUntilShown(post: string, shown: readonly Counts[]): Promise<void> {
  const text = JSON.stringify(shown);
  const isShown = async (): Promise<boolean> => JSON.stringify(await readAllCounts(post)) === text;
  await until(isShown, `all regions show ${text}`).catch(async (error: unknown) => {
    throw new Error(`${String(error)}, but ${JSON.stringify(await readAllCounts(post))}`, { cause: error });
  });
}

/** The counts that each region shows: those of the regions that reach it. */
function expectedCounts(owns: readonly Counts[], cut: readonly string[]): Counts[] {
  return REGIONS.map((_, to) => {
    const reaches = (from: number): boolean => from === to || !cut.includes(`${REGIONS[from]!}→${REGIONS[to]!}`);
    return sum(owns.filter((_, from) => reaches(from)));
  });
}

const STORES = {
  'embedded stores': () => Promise.resolve(REGIONS.map(() => ({}))),
  Redis: async () => (await Promise.all(REGIONS.map(() => startRedis()))).map(({ url }) => ({ REDIS_URL: url })),
};

describe.each(Object.entries(STORES))('three regions on %s', (store, start) => {
  beforeAll(async () => startRegions(await start()));

  afterEach(() => {
    for (const { proxy } of cables) {
      proxy.accept();
      proxy.resume();
    }
  });

  afterAll(stopRegions);

  it('each region shows its own increments while all are cut off, and the total afterwards', async () => {
    const owns = [
      { likes: 3, views: 4 },
      { likes: 1, views: 9 },
      { likes: 5, views: 1 },
    ];
    for (const { proxy } of cables) proxy.refuse();
    for (const i of REGIONS.keys()) await waitUntilLinked(i, () => false);
    await Promise.all(owns.map((own, i) => count(i, 'alone', own)));
    expect(await readAllCounts('alone')).toEqual(owns);
    for (const { proxy } of cables) proxy.accept();
    await waitUntilShown('alone', [sum(owns), sum(owns), sum(owns)]);
  });

  it.each(
    (SCALE === 1 ? CUTS.filter((_, i) => i % 2 === (store === 'Redis' ? 1 : 0)) : CUTS).map(
      (cut) => [cut.join(' ') || 'nothing', cut] as const,
    ),
  )(
    `while %s is cut, counts reach the regions that are reachable, and all afterwards (TEST_SEED=${SEED})`,
    async (_, cut) => {
      const post = `cut-${cases++}`;
      const isSilent = random.chance(0.5);
      const pulled = cables.filter((cable) => cut.includes(formatCable(cable)));
      for (const { proxy } of pulled) {
        if (isSilent) proxy.stall();
        else proxy.refuse();
      }
      const owns = REGIONS.map(() => ({ likes: 1 + random.below(3), views: 1 + random.below(5) }));
      await Promise.all(owns.map((own, i) => count(i, post, own)));
      const shown = expectedCounts(owns, cut);
      await waitUntilShown(post, shown);
      if (!isSilent) {
        for (const [i, from] of REGIONS.entries()) await waitUntilLinked(i, (to) => !cut.includes(`${from}→${to}`));
        expect(await readAllCounts(post)).toEqual(shown);
      }
      for (const { proxy } of pulled) {
        proxy.accept();
        proxy.resume();
      }
      await waitUntilShown(post, [sum(owns), sum(owns), sum(owns)]);
    },
  );

  it('no region mistakes a cut for a loss and starts another incarnation', async () => {
    const links = await Promise.all(REGIONS.map((_, i) => readLinks(i)));
    expect(links.flat().map(({ incarnationsStarted }) => incarnationsStarted)).toEqual([0, 0, 0, 0, 0, 0]);
  });
});
