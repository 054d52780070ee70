import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { sleep } from '../../src/common/sleep.js';
import { systemClock } from '../../src/common/clock.js';
import { readTotals } from '../support/clients.js';
import { stopAll } from '../support/gateway-process.js';
import { ADMIN_TOKEN, administer, readWinners } from '../support/milestones.js';
import { RegionProcesses } from '../support/region-processes.js';
import { until } from '../support/until.js';

const NAMES = ['ap', 'eu', 'us'] as const;
const N = 60;
const FROM = 20;
const CLIENTS = 9;
const VIEWS_EACH = 12;
const RETRY_MS = 100;

let world: RegionProcesses;

beforeAll(async () => {
  world = await RegionProcesses.start(NAMES, { gateways: 1, redis: false, more: { ADMIN_TOKEN } });
});

afterAll(async () => {
  await world.close();
  await stopAll();
});

interface Answer {
  readonly status: number;
  readonly body: {
    readonly count?: number;
    readonly reached?: true;
    readonly code?: string;
    readonly message?: string;
  };
}

async function view(url: string, post: string, key: string): Promise<Answer> {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
  const response = await fetch(`${url}/v1/${post}/views`, { method: 'PUT', headers, body: '{"action":"increment"}' });
  return { status: response.status, body: (await response.json()) as Answer['body'] };
}

function arm(url: string, post: string): ReturnType<typeof administer> {
  return administer(url, 'PUT', '', { post, metric: 'views', at: N, from: FROM });
}

async function untilConfirmed(url: string, post: string): Promise<void> {
  const isConfirmed = async (): Promise<boolean> => {
    const { mode, waiting_for: waitingFor } = await readWinners(url, post, 'views');
    return mode === 'strict' && waitingFor?.length === 0;
  };
  await until(isConfirmed, 'all regions have confirmed the home');
}

test(`clients of three regions with cut cables have one ${N}th view, and each view is counted once`, async () => {
  const { urls } = world;
  expect((await arm(urls[0]!, 'raffle')).status).toBe(201);
  let sent = 0;
  const winners: string[] = [];
  const client = async (n: number): Promise<void> => {
    for (let i = 0; i < VIEWS_EACH; i++) {
      const key = `key-of-client-${n}-view-${i}-0000`;
      for (;;) {
        const { status, body } = await view(urls[n % 3]!, 'raffle', key);
        expect([200, 503]).toContain(status);
        if (body.reached === true) winners.push(key);
        if (status === 200) break;
        await sleep(systemClock, RETRY_MS);
      }
      sent += 1;
    }
  };
  const clients = Array.from({ length: CLIENTS }, (_, n) => client(n));
  for (const [at, cut] of [
    [5, ['ap', 'eu']],
    [FROM, ['us', 'ap']],
    [N - 10, ['eu', 'ap']],
  ] as const) {
    await until(() => sent >= at, `${at} views are sent`);
    world.cut(cut[0], cut[1], 'refuse');
    await sleep(systemClock, 10 * RETRY_MS);
    world.mend();
  }
  await Promise.all(clients);
  const total = CLIENTS * VIEWS_EACH;
  for (const url of urls) {
    await until(async () => (await readTotals(url, ['raffle']))['raffle']!.views === total, `${url} has all views`);
    await until(async () => (await readWinners(url, 'raffle', 'views')).reached.length === 1, `${url} has the record`);
  }
  const records = await Promise.all(urls.map(async (url) => (await readWinners(url, 'raffle', 'views')).reached[0]!));
  for (const record of records) expect(record).toMatchObject({ n: N, total: N, value: 1 });
  expect(new Set(records.map(({ session, seq, region }) => `${region} ${session} ${seq}`)).size).toBe(1);
  expect(new Set(winners).size).toBe(1);
});

test('in a cut only that metric of that post is UNAVAILABLE, with the name of the region that it waits for', async () => {
  const { urls } = world;
  const [ap, eu] = urls as [string, string, string];
  expect((await arm(ap, 'cut')).status).toBe(201);
  for (let i = 0; i < FROM; i++) expect((await view(ap, 'cut', `key-before-the-cut-${i}-000`)).status).toBe(200);
  await untilConfirmed(ap, 'cut');
  world.cut('eu', 'ap', 'refuse');
  const isForwarded = async (): Promise<boolean> => (await view(eu, 'cut', 'key-in-the-cut-0000')).status === 503;
  await until(isForwarded, 'eu does not count it');
  const { body } = await view(eu, 'cut', 'key-in-the-cut-0000');
  expect(body).toMatchObject({ code: 'UNAVAILABLE' });
  expect(body.message).toContain('region ap');
  expect((await view(eu, 'other', 'key-in-the-cut-0001')).status).toBe(200);
  expect((await view(ap, 'cut', 'key-in-the-cut-0002')).status).toBe(200);
  world.mend();
  await until(async () => (await view(eu, 'cut', 'key-in-the-cut-0000')).status === 200, 'the retry is counted');
  for (const url of urls) {
    const isThere = async (): Promise<boolean> => (await readTotals(url, ['cut']))['cut']!.views === FROM + 2;
    await until(isThere, `${url} has each view once`);
  }
});
