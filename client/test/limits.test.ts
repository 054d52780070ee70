import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { startAddressedProxy } from '../../test/support/addressed-proxy.js';
import { type GatewayProcess, startGateway, stopAll } from '../../test/support/gateway-process.js';
import { readMetrics } from '../../test/support/metrics.js';
import { until } from '../../test/support/until.js';
import type { LiveCountsError } from '../src/live-counts.js';
import { createLiveCounts } from '../src/live-counts-http.js';
import { closeClients, connect, PostWatcher, reached } from './clients.js';
import { HeldClock } from './fake-gateway.js';

/** The gateway requests a wait of 10 s, to which clients add up to a tenth at random. */
const REQUESTED_MS = 10_000;
const WAIT_MS = 10_500;
const ERROR = {
  code: 'RATE_LIMITED',
  message: 'too many connections from your address; close some, or retry later',
  retryAfterMs: REQUESTED_MS,
};

let gateway: GatewayProcess;
let proxy: Awaited<ReturnType<typeof startAddressedProxy>>;

beforeAll(async () => {
  gateway = await startGateway({ TRUST_PROXY: 'loopback', MAX_CONNECTIONS_PER_ADDRESS: '1' });
  proxy = await startAddressedProxy(gateway, '198.51.100.7');
});

afterEach(closeClients);
afterAll(async () => {
  proxy.close();
  await stopAll();
});

async function viewers(post: string): Promise<number> {
  const answer = await fetch(`${gateway.url}/v1/${post}/live`);
  return ((await answer.json()) as { count: number }).count;
}

test('a client whose address has too many sockets gets one error, tries again, and connects when there is room', async () => {
  const first = connect(proxy.url);
  new PostWatcher(first, 'crowded');
  await reached(first, 'synced');

  const clock = new HeldClock(WAIT_MS);
  const second = connect(proxy.url, { environment: { clock, random: () => 0.5 } });
  const errors: LiveCountsError[] = [];
  second.on('error', (error) => errors.push(error));
  const seen = new PostWatcher(second, 'crowded');
  await until(() => clock.held === 1, 'the client waits as long as the gateway requests');
  clock.ring();
  await until(() => clock.held === 1, 'the client waits again');
  expect(errors).toEqual([expect.objectContaining(ERROR)]);
  const suspicions = await readMetrics(gateway.url);
  expect(suspicions.get('tallycast_suspicious_total{kind="connections"}')).toBe(2);
  const line = '(connections): address 198.51.100.7 opens more connections than it may have, and its pages get errors';
  expect(gateway.log.filter((text) => text.includes(line))).toHaveLength(1);

  first.close();
  await until(async () => (await viewers('crowded')) === 0, 'the gateway has noticed the end of the first client');
  clock.ring();
  await seen.until(({ counts }) => counts.live === 1);
});

test('a client whose address has too many streams gets one error, and its likes are counted even so', async () => {
  const first = createLiveCounts(proxy.url, { actor: 'ann' });
  new PostWatcher(first, 'crowded');
  await reached(first, 'synced');

  const clock = new HeldClock(REQUESTED_MS);
  const second = createLiveCounts(proxy.url, { actor: 'bob', environment: { clock } });
  const errors: LiveCountsError[] = [];
  second.on('error', (error) => errors.push(error));
  const seen = new PostWatcher(second, 'crowded');
  await second.post('crowded').like();
  await until(() => errors.length === 1, 'the error');
  expect(errors).toEqual([expect.objectContaining(ERROR)]);
  first.close();
  await until(async () => (await viewers('crowded')) === 0, 'the gateway has noticed the end of the first client');
  await until(() => clock.held === 1, 'only the next attempt is due');
  clock.ring();
  await seen.until(({ counts }) => counts.likes === 1);
  second.close();
  expect(errors).toHaveLength(1);
});
