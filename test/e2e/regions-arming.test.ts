import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { closeClients, connect, untilConnected } from '../support/clients.js';
import { postEvents } from '../support/events.js';
import { stopAll } from '../support/gateway-process.js';
import { countOperations, readMetrics } from '../support/metrics.js';
import { ADMIN_TOKEN, type Answer, administer, readWinners } from '../support/milestones.js';
import { RegionProcesses } from '../support/region-processes.js';
import { until } from '../support/until.js';

const N = 5;
const NAMES = ['ap', 'eu', 'us'] as const;

let world: RegionProcesses;
let ap: string;
let eu: string;
let us: string;

beforeAll(async () => {
  world = await RegionProcesses.start(NAMES, { gateways: 1, redis: false, more: { ADMIN_TOKEN } });
  [ap, eu, us] = world.urls as [string, string, string];
});
afterEach(() => world.mend());
afterAll(async () => {
  await closeClients();
  await stopAll();
  await world.close();
});

function arm(url: string, post: string, more: Record<string, unknown> = {}): Promise<Answer<unknown>> {
  return administer(url, 'PUT', '', { post, metric: 'views', at: N, from: 1, ...more });
}

function rejected(status: number, code: string, message: string) {
  return { status, body: { code, message, retryable: false } };
}

async function view(url: string, post: string): Promise<Answer<{ count?: number; code?: string; message?: string }>> {
  const headers = { 'Content-Type': 'application/json' };
  const response = await fetch(`${url}/v1/${post}/views`, { method: 'PUT', headers, body: '{"action":"increment"}' });
  return { status: response.status, body: (await response.json()) as { count?: number } };
}

async function untilHome(url: string, post: string, home: string): Promise<void> {
  const isHome = async (): Promise<boolean> => {
    const view = await readWinners(url, post, 'views');
    return view.home === home && view.waiting_for?.length === 0;
  };
  await until(isHome, `${home} decides`);
}

describe('arming among regions', () => {
  test('a home has to be the region of the gateway: the error says where to call, or that it is not in PEERS', async () => {
    expect(await arm(eu, 'homes', { home: 'us' })).toEqual(
      rejected(400, 'BAD_REQUEST', 'home must be eu: to make us the home, send the request to a gateway of us'),
    );
    expect(await arm(eu, 'homes', { home: 'mars' })).toEqual(
      rejected(400, 'BAD_REQUEST', 'home must be eu, the region of this gateway: mars is not in PEERS'),
    );
  });

  test('another region rejects the metric until it takes over, and both modes do not mix', async () => {
    expect((await arm(eu, 'taken')).status).toBe(201);
    expect((await view(eu, 'taken')).status).toBe(200);
    await untilHome(eu, 'taken', 'eu');
    await until(async () => (await readWinners(us, 'taken', 'views')).home === 'eu', 'us knows the home');
    expect(await arm(us, 'taken')).toEqual(
      rejected(409, 'CONFLICT', 'region eu decides about views of this post: arm it there, or take over with home'),
    );
    expect((await arm(us, 'taken', { home: 'us' })).status).toBe(201);
    await untilHome(us, 'taken', 'us');
    await until(async () => (await readWinners(eu, 'taken', 'views')).home === 'us', 'eu knows the new home');
    expect(await readWinners(eu, 'taken', 'views')).toMatchObject({ armed: [], mode: 'strict' });
    expect(await view(eu, 'taken')).toMatchObject({ status: 200 });
    await until(async () => (await view(us, 'taken')).body.count! > N, 'it is passed');
    const { reached } = await readWinners(us, 'taken', 'views');
    expect(reached).toMatchObject([{ n: N, total: N, region: 'us' }]);

    const likes = { post: 'modes', metric: 'likes', at: N };
    expect((await administer(eu, 'PUT', '', likes)).status).toBe(201);
    expect(await administer(eu, 'PUT', '', { ...likes, at: 2 * N, mode: 'strict' })).toEqual(
      rejected(
        409,
        'CONFLICT',
        'likes of this post has milestones in mode order: set mode to order, or disarm them first',
      ),
    );
  });

  test('a number that another region has armed is not taken back here: the error names that region', async () => {
    const query = `?post=kept&metric=views&at=${N}`;
    expect((await arm(eu, 'kept')).status).toBe(201);
    expect((await administer(us, 'DELETE', query)).status).toBe(204);
    expect((await view(eu, 'kept')).status).toBe(200);
    await until(async () => (await readWinners(us, 'kept', 'views')).home === 'eu', 'us knows the home');
    expect(await administer(us, 'DELETE', query)).toEqual(
      rejected(
        409,
        'CONFLICT',
        `region eu decides about views of this post, and ${N} is not armed here: disarm it there`,
      ),
    );
    expect(await readWinners(eu, 'kept', 'views')).toMatchObject({ armed: [N] });
    expect((await administer(eu, 'DELETE', query)).status).toBe(204);
    expect((await administer(eu, 'DELETE', query)).status).toBe(204);
    await until(async () => (await readWinners(us, 'kept', 'views')).mode === 'released', 'us knows the release');
    expect((await administer(us, 'DELETE', query)).status).toBe(204);
  });
});

/** Sends a view on each transport. @returns the codes and messages of the errors */
async function viewEverywhere(url: string, post: string): Promise<string[]> {
  const socket = connect(url);
  await untilConnected(socket);
  const answer = (await socket.emitWithAck('view', { post })) as {
    ok: boolean;
    error?: { code: string; message: string };
  };
  socket.close();
  const put = await view(url, post);
  const { body } = await postEvents(url, { events: [{ post }] });
  const event = 'rejected' in body ? undefined : body;
  expect([answer.ok, put.status]).toEqual([false, 503]);
  return [answer.error, put.body, event].map((one) => `${one?.code} ${one?.message}`);
}

describe('operations near a milestone in a cut', () => {
  test('each transport says which region the home waits for, and so do the metrics and the log', async () => {
    world.cut('us', 'eu', 'refuse');
    expect((await arm(eu, 'unconfirmed')).status).toBe(201);
    for (let i = 1; i < N; i++) expect((await view(eu, 'unconfirmed')).status).toBe(200);
    const reason = 'near a milestone this metric of the post waits until region us has confirmed who counts it';
    const message = `UNAVAILABLE ${reason}; retry with the same seq or key`;
    expect(await viewEverywhere(eu, 'unconfirmed')).toEqual([message, message, message]);
    // Another region forwards to the home, which waits.
    const elsewhere =
      'near a milestone this metric of the post waits until region eu, which counts it, has the confirmation of all regions';
    const forwarded = `UNAVAILABLE ${elsewhere}; retry with the same seq or key`;
    expect(await viewEverywhere(ap, 'unconfirmed')).toEqual([forwarded, forwarded, forwarded]);
    // The region in the cut does not reach the home at all.
    const silence = 'near a milestone this metric of the post waits until region eu, which counts it, answers';
    const silent = `UNAVAILABLE ${silence}; retry with the same seq or key`;
    expect(await viewEverywhere(us, 'unconfirmed')).toEqual([silent, silent, silent]);
    expect((await view(eu, 'other')).status).toBe(200);

    const lineOf = (region: number): string | undefined =>
      world.regions[region]!.gateways[0]!.log.find((line) => line.includes('views of post unconfirmed has waited'));
    await until(async () => {
      await Promise.all([view(ap, 'unconfirmed'), view(eu, 'unconfirmed'), view(us, 'unconfirmed')]);
      return [0, 1, 2].every((region) => lineOf(region) !== undefined);
    }, 'all regions have logged it');
    expect(lineOf(0)).toContain('for region eu near a milestone: the log of eu says which regions it waits for itself');
    expect(lineOf(1)).toContain(
      'for region us near a milestone: make us reachable, remove what is lost for good from PEERS',
    );
    expect(lineOf(2)).toContain('for region eu near a milestone: make eu reachable, or take over with PUT');
    for (const [url, peer] of [
      [ap, 'eu'],
      [eu, 'us'],
      [us, 'eu'],
    ] as const) {
      const metrics = await readMetrics(url);
      expect(metrics.get(`tallycast_milestone_waits{peer="${peer}"}`)).toBe(1);
      expect(metrics.get(`tallycast_milestone_wait_seconds{peer="${peer}"}`)).toBeGreaterThan(1);
    }
    world.mend();
    await until(async () => (await view(eu, 'unconfirmed')).status === 200, 'us has confirmed');
    expect((await readMetrics(eu)).get('tallycast_milestone_waits{peer="us"}')).toBeUndefined();
  });

  test('an operation is counted once as received, where its client is, and as forwarded where it is done', async () => {
    expect((await arm(eu, 'counted', { at: 1_000 })).status).toBe(201);
    expect((await view(eu, 'counted')).status).toBe(200);
    await untilHome(eu, 'counted', 'eu');
    await until(async () => (await readWinners(us, 'counted', 'views')).mode === 'strict', 'us forwards');
    const read = async (): Promise<number[]> => {
      const [home, other] = await Promise.all([readMetrics(eu), readMetrics(us)]);
      const forwarded = home.get('tallycast_forwarded_operations_total{result="applied"}') ?? 0;
      return [countOperations(other, 'applied'), countOperations(home, 'applied'), forwarded];
    };
    const before = await read();
    for (let i = 0; i < 7; i++) expect((await view(us, 'counted')).status).toBe(200);
    const after = await read();
    expect(after.map((value, i) => value - before[i]!)).toEqual([7, 0, 7]);
    expect((await readMetrics(us)).get('tallycast_forwarding_operations')).toBe(0);
  });
});
