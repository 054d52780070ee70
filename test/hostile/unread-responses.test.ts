import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric } from '../support/metrics.js';
import { encodeFrame, RawSocket } from '../support/raw-socket.js';

const POSTS = Array.from({ length: 500 }, (_, i) => `post-${i}`);
/** Each request has a response of 50 KB, together 300 MB. */
const SUBSCRIPTIONS = 6_000;
/** Unread responses are limited to some MiB; the rest is the gateway's memory for the posts. */
const GROWTH_MAX_BYTES = 120e6;

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ MAX_OPS_PER_CONNECTION: '0' });
});

afterAll(stopAll);

it('a client that sends many requests and reads nothing is paused and then ended', async () => {
  const reader = await RawSocket.connect(gateway.url);
  const subscribe = `2#${JSON.stringify(['subscribe', { posts: POSTS }])}`;
  for (let i = 0; i < 20; i++) expect(await reader.emitWithAck(subscribe)).toMatchObject({ ok: true });
  const raw = await RawSocket.connect(gateway.url);
  raw.answersPings = false;
  raw.pause();
  const before = await readMetric(gateway.url, 'process_resident_memory_bytes');
  for (let i = 0; i < SUBSCRIPTIONS; i++) raw.write(encodeFrame(`4${subscribe.replace('#', String(i))}`));
  let most = 0;
  while (!raw.socket.destroyed) {
    most = Math.max(most, await readMetric(gateway.url, 'process_resident_memory_bytes'));
    // The end shows only to a writer, because the client does not read.
    raw.socket.write(encodeFrame('3'));
  }
  expect(most - before).toBeLessThan(GROWTH_MAX_BYTES);
  expect(await reader.emitWithAck(subscribe)).toMatchObject({ ok: true });
  reader.destroy();
});
