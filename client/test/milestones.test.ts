import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { type GatewayProcess, startGateway, stopAll } from '../../test/support/gateway-process.js';
import { until } from '../../test/support/until.js';
import { createLiveCounts } from '../src/live-counts-http.js';
import type { LiveCounts, Milestone } from '../src/live-counts.js';
import { connect, closeClients, reached } from './clients.js';

const ADMIN_TOKEN = 'a-token-of-an-operator';

let gateway: GatewayProcess;
let overHttp: LiveCounts[] = [];

beforeAll(async () => {
  gateway = await startGateway({ ADMIN_TOKEN });
});

afterEach(() => {
  closeClients();
  for (const live of overHttp) live.close();
  overHttp = [];
});
afterAll(stopAll);

function connectOverHttp(url: string, options: { readonly actor: string }): LiveCounts {
  const live = createLiveCounts(url, options);
  overHttp.push(live);
  return live;
}

test.each([
  ['sockets', connect],
  ['event streams and HTTP', connectOverHttp],
])('over %s the winner and a viewer get each milestone once from a gateway', async (name, open) => {
  const post = name.replaceAll(' ', '-');
  for (const at of [3, 5]) {
    const headers = { Authorization: `Bearer ${ADMIN_TOKEN}` };
    const body = JSON.stringify({ post, metric: 'views', at });
    const armed = await fetch(`${gateway.url}/admin/milestones`, { method: 'PUT', headers, body });
    expect(armed.status).toBe(201);
  }
  const pages = ['ann', 'bob'].map((actor) => {
    const live = open(gateway.url, { actor });
    const milestones: Milestone[] = [];
    live.post(post).onMilestone((milestone) => milestones.push(milestone));
    live.post(post).subscribe(() => undefined);
    return { live, milestones };
  });
  for (const { live } of pages) await reached(live, 'synced');
  await pages[0]!.live.post(post).add('views', 4);
  await pages[1]!.live.post(post).view();
  await until(() => pages.every(({ milestones }) => milestones.length === 2), 'both pages get both milestones');
  const seen = pages.map(({ milestones }) => milestones.map(({ n, mine }) => [n, mine]).sort());
  expect(seen).toEqual([
    [
      [3, true],
      [5, false],
    ],
    [
      [3, false],
      [5, true],
    ],
  ]);
  const { armed, reached: all } = await pages[0]!.live.post(post).milestones('views');
  expect([armed, all.map(({ n, mine, final }) => [n, mine, final])]).toEqual([
    [],
    [
      [3, true, true],
      [5, undefined, true],
    ],
  ]);
});
