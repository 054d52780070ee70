import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric, readMetrics, countOperations, untilMetric } from '../support/metrics.js';
import { RawSocket } from '../support/raw-socket.js';
import { BAD_EVENTS } from './bad-input-cases.js';
import { BAD_PACKETS, BREAKING } from './bad-input-wire-cases.js';

const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const INPUTS = 25_000 * SCALE;
const WARM_UP = 10_000;
const SOCKETS = 4;
/** A leak of 0.5 KB an input exceeds this. With four times as many inputs one leaked object an input does. */
const GROWTH_MAX = 1.3;

/** All inputs that get an answer, from the groups that consist of JSON. */
const ANSWERED = [
  ...Object.entries(BAD_EVENTS)
    .filter(([group]) => group !== 'binary attachments' && group !== 'messages over 16 KiB')
    .flatMap(([, cases]) => cases)
    .map(({ event, args }) => `2#${JSON.stringify([event, ...args])}`),
  ...BAD_PACKETS.filter(({ attachments = [] }) => attachments.length === 0).map(({ packet }) => packet),
];

let gateway: GatewayProcess;

beforeAll(async () => {
  // A small heap is collected often, so that readings show used memory, and a leak of 1 KB an input ends the process.
  gateway = await startGateway({ MAX_OPS_PER_CONNECTION: '0', NODE_OPTIONS: '--max-old-space-size=64' });
});

afterAll(stopAll);

/** Reads the used heap. Right after a collection it is the live data, so the minimum of many samples counts. */
async function heapBytes(): Promise<number> {
  return readMetric(gateway.url, 'nodejs_heap_size_used_bytes');
}

/** Sends inputs one after the other on new connections, which they end. */
async function breakConnections(): Promise<void> {
  for (const [, packet] of BREAKING) {
    const raw = await RawSocket.connect(gateway.url);
    raw.send(packet);
    await raw.closed;
  }
}

it(`memory stays flat over ${INPUTS} bad inputs`, async () => {
  const sockets = await Promise.all(Array.from({ length: SOCKETS }, () => RawSocket.connect(gateway.url)));
  const samples: { readonly inputs: number; readonly bytes: number }[] = [];
  let inputs = 0;
  while (inputs < INPUTS) {
    await Promise.all(sockets.map((socket) => Promise.all(ANSWERED.map((packet) => socket.emitWithAck(packet)))));
    inputs += SOCKETS * ANSWERED.length;
    if (samples.length % 5 === 0) {
      await breakConnections();
      inputs += BREAKING.length;
    }
    samples.push({ inputs, bytes: await heapBytes() });
  }
  const least = (some: typeof samples): number => Math.min(...some.map(({ bytes }) => bytes));
  const early = least(samples.filter((sample) => sample.inputs <= WARM_UP));
  const late = least(samples.filter((sample) => sample.inputs > INPUTS - WARM_UP));
  expect(late / early).toBeLessThan(GROWTH_MAX);

  const metrics = await readMetrics(gateway.url);
  const refused = countOperations(metrics, 'BAD_REQUEST', 'PAYLOAD_TOO_LARGE', 'TOO_MANY_POSTS');
  expect(refused).toBeGreaterThan(INPUTS * 0.9);
  expect(countOperations(metrics, 'applied', 'unchanged', 'duplicate')).toBe(0);
  expect(metrics.get('tallycast_watched_posts')).toBe(0);
  expect(metrics.get('tallycast_pending_operations')).toBe(0);
  for (const socket of sockets) socket.destroy();
  await untilMetric(gateway.url, 'tallycast_sockets', 0);
});
