import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { allAccepted, type EventsAnswer, postEvents, readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric } from '../support/metrics.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const BODY_BYTES = 256 * 1024;
/** Bodies that are nearly whole: together they exceed what an address may hold, and what all may. */
const OF_ADDRESS = 40;
const OF_ALL = 270;
/** The bytes that all bodies may hold, twice because their memory grows in steps, and those of their connections. */
const GROWTH_MAX_BYTES = 250e6;
/** Above the 50,000 operations that may wait. */
const REQUESTS = 130;
const EVENTS = 500;

let gateway: GatewayProcess;

beforeAll(async () => {
  const limits = { MAX_CONNECTIONS_PER_ADDRESS: '0', NODE_OPTIONS: '--max-old-space-size=96' };
  gateway = await startGateway({ TRUST_PROXY: 'loopback', ...limits });
});

afterAll(async () => {
  await stopAll();
  await stopRedis();
});

class SlowBody {
  answer = '';

  private constructor(readonly socket: Socket) {
    socket.on('error', () => undefined).on('data', (data) => (this.answer += data.toString('latin1')));
  }

  static async begin(address: string): Promise<SlowBody> {
    const socket = connect(gateway.port, '127.0.0.1');
    const body = new SlowBody(socket);
    await once(socket, 'connect');
    const head = ['POST /v1/events HTTP/1.1', 'Host: slow', `X-Forwarded-For: ${address}`];
    socket.write(`${head.join('\r\n')}\r\nContent-Length: ${BODY_BYTES}\r\n\r\n`);
    return body;
  }

  /** Sends all bytes but one. */
  async send(): Promise<void> {
    await new Promise<void>((resolve) => this.socket.write(Buffer.alloc(BODY_BYTES - 1, ' '), () => resolve()));
  }
}

async function beginMany(bodies: number, address: string): Promise<SlowBody[]> {
  const begun: SlowBody[] = [];
  for (let i = 0; i < bodies; i++) {
    const body = await SlowBody.begin(address);
    await body.send();
    begun.push(body);
  }
  return begun;
}

async function untilAnswered(bodies: readonly SlowBody[], status: number): Promise<void> {
  await until(() => bodies.some(({ answer }) => answer.startsWith(`HTTP/1.1 ${status} `)), `a response with ${status}`);
  expect(bodies.some(({ answer }) => answer === '')).toBe(true);
}

it('bodies that do not end hold bounded memory, and an address leaves room for others', async () => {
  const before = await readMetric(gateway.url, 'process_resident_memory_bytes');
  const ofOne = await beginMany(OF_ADDRESS, '203.0.113.1');
  await untilAnswered(ofOne, 429);
  const other = { 'X-Forwarded-For': '203.0.113.2' };
  expect(await postEvents(gateway.url, [{ post: 'room' }], other)).toEqual(allAccepted(1));
  // Loopback is not limited by address.
  const ofAll = await beginMany(OF_ALL, '127.0.0.1');
  await untilAnswered(ofAll, 503);
  expect((await readMetric(gateway.url, 'process_resident_memory_bytes')) - before).toBeLessThan(GROWTH_MAX_BYTES);
  for (const { socket } of [...ofOne, ...ofAll]) socket.destroy();
  let answer = await postEvents(gateway.url, [{ post: 'room' }]);
  while (answer.status === 503) answer = await postEvents(gateway.url, [{ post: 'room' }]);
  expect(answer).toEqual(allAccepted(1));
});

it('a body of single bytes ends its connection', async () => {
  const socket = connect(gateway.port, '127.0.0.1').on('error', () => undefined);
  await once(socket, 'connect');
  socket.write('POST /v1/events HTTP/1.1\r\nHost: slow\r\nTransfer-Encoding: chunked\r\n\r\n');
  socket.resume().write('1\r\n \r\n'.repeat(2_000));
  await new Promise((resolve) => socket.once('close', resolve));
});

it('bodies of invalid events cost units, also where no event is counted', async () => {
  const headers = { 'X-Forwarded-For': '203.0.113.3', 'Content-Type': 'application/json' };
  const invalid = JSON.stringify(Array<number>(EVENTS).fill(0)).padEnd(BODY_BYTES);
  let answer: EventsAnswer;
  do answer = await postEvents(gateway.url, invalid, headers);
  while (answer.status === 400);
  expect(answer).toMatchObject({ status: 429, body: { code: 'RATE_LIMITED' } });
});

it('requests beyond the operations that may wait are shed, and repeated ones count each event once', async () => {
  const redis = await startRedis();
  const stalled = await startGateway({ REDIS_URL: redis.url }, { timeScale: 0.5 });
  const lists = Array.from({ length: REQUESTS }, () => ({
    session: randomUUID(),
    events: Array.from({ length: EVENTS }, (_, i) => ({ post: 'stalled', seq: i + 1 })),
  }));
  await redis.kill('SIGSTOP');
  const answers = await Promise.all(lists.map((list) => postEvents(stalled.url, list)));
  const codes = answers.map(({ body }) => ('code' in body ? body.code : 'accepted'));
  expect(new Set(codes)).toEqual(new Set(['UNAVAILABLE', 'OVERLOADED']));
  expect(answers.find(({ body }) => 'code' in body && body.code === 'OVERLOADED')!.retryAfter).toBe('1');
  expect(codes.filter((code) => code === 'OVERLOADED').length).toBeGreaterThanOrEqual(REQUESTS - 100);
  await redis.kill('SIGCONT');
  for (const list of lists) {
    let events = list.events;
    while (events.length > 0) {
      const { body } = await postEvents(stalled.url, { ...list, events });
      if (!('code' in body)) events = body.rejected.map(({ index }) => events[index]!);
      else if (!body.retryable) throw new Error(body.message);
    }
  }
  expect(await readCount(stalled.url, 'stalled', 'views')).toBe(REQUESTS * EVENTS);
});
