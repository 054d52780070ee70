import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { systemClock } from '../../common/clock.js';
import { Metrics } from '../../counters/metrics.js';
import { RowEncoder } from '../count-row.js';
import { SinkError } from '../sink.js';
import { WebhookReceiver } from './webhook-receiver.js';

const WRITE = {
  bucket: 0,
  epoch: 1,
  posts: [{ post: 'a', e: 'eu.1.1', v: 1, updatedAtMs: 5, totals: [1, 2], live: 0 }],
  position: { epoch: 1, nonce: 1, upTo: 2, changedAtMs: 5 },
  members: [],
  milestones: [],
  postsWithAllMembers: [],
  sums: null,
  startsFullSync: false,
  endsFullSync: false,
};

const server = createServer((request, response) => {
  request.resume();
  request.on('end', () => respond(response));
});
let respond: (response: ServerResponse) => void;
let receiver: WebhookReceiver;

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  receiver = new WebhookReceiver({
    name: 'webhook',
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`),
    key: Buffer.alloc(32),
    rows: new RowEncoder('eu', Metrics.parse('likes:toggle,views:tally')),
    clock: systemClock,
  });
});

async function failure(): Promise<SinkError> {
  const error = await receiver.send([WRITE]).then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SinkError)) throw new Error(`no SinkError, but ${String(error)}`);
  return error;
}

it('pauses are doubled from 1 to 60 s, and begin again after a success', async () => {
  respond = (response) => response.writeHead(500).end();
  const pauses: number[] = [];
  for (let i = 0; i < 8; i++) pauses.push((await failure()).pauseMs);
  expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  respond = (response) => response.writeHead(204).end();
  expect(await receiver.send([WRITE])).toBe(true);
  respond = (response) => response.destroy();
  expect((await failure()).pauseMs).toBe(1_000);
});

it('Retry-After is honoured up to 60 s', async () => {
  const pausesFor = async (retryAfter: string): Promise<number> => {
    respond = (response) => response.writeHead(429, { 'retry-after': retryAfter }).end();
    return (await failure()).pauseMs;
  };
  expect(await pausesFor('30')).toBe(30_000);
  expect(await pausesFor('3600')).toBe(60_000);
  expect(await pausesFor(new Date(Date.now() + 3_600_000).toUTCString())).toBe(60_000);
  expect(await pausesFor('soon')).toBe(8_000);
  expect(await pausesFor(new Date(0).toUTCString())).toBe(16_000);
});

it('only failures that pass by themselves are retried', async () => {
  for (const [status, isConfiguration] of [
    [500, false],
    [503, false],
    [429, false],
    [408, false],
    [400, true],
    [404, true],
    [410, true],
    [413, true],
    [302, true],
  ] as const) {
    respond = (response) => response.writeHead(status).end();
    expect([status, (await failure()).isConfiguration]).toEqual([status, isConfiguration]);
  }
});

it('an endless response is not read to its end', async () => {
  respond = (response) => {
    response.writeHead(200);
    const more = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(16_384)));
    };
    response.on('drain', more);
    more();
  };
  expect(await receiver.send([WRITE])).toBe(true);
});
