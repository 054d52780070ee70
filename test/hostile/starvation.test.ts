import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { Polling } from '../support/polling.js';
import { encodeFrame, OPCODE, RawSocket } from '../support/raw-socket.js';
import { until } from '../support/until.js';

const HOSTILE = 10;
/** More than the system buffers for a connection, so that the next write waits for the gateway's reading. */
const BURST_BYTES = 64 * 1024;
const ENV = { TRUST_PROXY: 'loopback' };

const KINDS: readonly [kind: string, frame: Buffer][] = [
  ['likes over the rate', encodeFrame('42["like",{"post":"hostile"}]')],
  ['events that do not exist', encodeFrame('421["nonsense",{}]')],
  ['bad payloads', encodeFrame('421["like",{"post":7}]')],
  ['pongs of Engine.IO', encodeFrame('3')],
  ['pings of WebSocket', encodeFrame('', { opcode: OPCODE.ping })],
  ['acknowledgements without an event', encodeFrame('4399[]')],
  ['packets of Engine.IO that mean nothing', encodeFrame('6')],
];

let gateway: GatewayProcess;
let hostiles = 0;

beforeAll(async () => {
  gateway = await startGateway(ENV);
});

afterAll(stopAll);

/**
 * Repeats the same bytes as fast as they are read, until the connection ends. On a slow machine it may end for another
 * reason, for example because its client does not read: then it reconnects.
 */
async function flood(address: string, frame: Buffer): Promise<void> {
  const burst = Buffer.concat(Array<Buffer>(Math.ceil(BURST_BYTES / frame.length)).fill(frame));
  do {
    const raw = await RawSocket.connect(gateway.url, '', { 'X-Forwarded-For': address }).catch(() => null);
    while (raw?.socket.destroyed === false) await Promise.race([raw.flushed(burst), raw.closed]);
  } while (named(address) === 0);
}

function delay(ms: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), ms));
}

function named(address: string): number {
  return gateway.log.filter((line) => line.includes('suspicious (flood)') && line.includes(address)).length;
}

/** Floods from ten connections of a new address, while a client at another one makes operations. */
async function attack(frame: Buffer): Promise<void> {
  const address = `203.0.113.${(hostiles += 1)}`;
  const floods = Array.from({ length: HOSTILE }, () => flood(address, frame));
  const ended = Promise.all(floods).then(() => true);
  const victim = await RawSocket.connect(gateway.url, '', { 'X-Forwarded-For': '198.51.100.1' });
  let views = 0;
  do {
    expect(await victim.emitWithAck(`2#["view",{"post":"victim-${address}"}]`)).toMatchObject({ ok: true });
    views += 1;
    expect((await fetch(`${gateway.url}/healthz`)).status).toBe(200);
  } while (!(await Promise.race([ended, delay(20)])));
  const response = await fetch(`${gateway.url}/v1/victim-${address}/views`);
  expect(await response.json()).toMatchObject({ count: views });
  expect(named(address)).toBe(1);
  expect((await readMetrics(gateway.url)).get('tallycast_suspicious_total{kind="flood"}')).toBeGreaterThan(0);
  victim.destroy();
}

it('flooding connections are ended and logged once an address, and other clients are served meanwhile', async () => {
  const attacks = KINDS.map(([kind, frame]) =>
    attack(frame).catch((error: unknown) => {
      throw new Error(`${kind}: ${(error as Error).message}`, { cause: error });
    }),
  );
  await Promise.all(attacks);
});

describe('requests of long-polling', () => {
  it('sessions of long-polling that keep sending thousands of rejected messages a request are ended', async () => {
    const address = '203.0.113.200';
    const polling = await Polling.connect(gateway.url, { 'X-Forwarded-For': address });
    const packets = Array<string>(8_000).fill('42["like",{"post":"hostile"}]');
    const statuses: number[] = [];
    while (named(address) === 0) statuses.push((await polling.send(...packets)).status);
    expect(statuses.every((status) => status === 200)).toBe(true);
    expect(await polling.packets((some) => some.some((packet) => packet.includes('"bye"')))).toBeTruthy();
    await until(() => polling.hasEnded(), 'the end of the session');
  });

  it('an address that opens and abandons sessions of long-polling is logged once', async () => {
    const address = '203.0.113.202';
    const headers = { 'X-Forwarded-For': address };
    const begin = async (): Promise<void> => {
      const response = await fetch(`${gateway.url}/socket.io/?EIO=4&transport=polling`, { headers });
      await response.text();
    };
    while (named(address) === 0) await Promise.all(Array.from({ length: 50 }, begin));
    expect(named(address)).toBe(1);
    expect((await fetch(`${gateway.url}/healthz`)).status).toBe(200);
  });

  it('requests of an ended session of long-polling are delayed, too', async () => {
    const { url } = await Polling.open(gateway.url);
    const gone = url.replace(/sid=.*/, 'sid=gone');
    const headers = { 'X-Forwarded-For': '203.0.113.201' };
    const statuses = new Set<number>();
    for (let i = 0; i < 12; i++) {
      const some = await Promise.all(Array.from({ length: 100 }, () => fetch(gone, { headers })));
      for (const { status } of some) statuses.add(status);
      await Promise.all(some.map((response) => response.text()));
    }
    expect([...statuses].every((status) => status === 400 || status === 429)).toBe(true);
  });
});

describe('a client that sends thousands of operations at once and obeys retryAfterMs', () => {
  it('a client that sends thousands of operations at once and obeys retryAfterMs is counted exactly and never disconnected', async () => {
    const own = await startGateway({ ...ENV, MAX_OPS_PER_CONNECTION: '500' });
    const headers = { 'X-Forwarded-For': '203.0.113.210' };
    const raw = await RawSocket.connect(own.url, '{"session":"pipelining"}', headers);
    let open = Array.from({ length: 3_000 }, (_, i) => i + 1);
    while (open.length > 0) {
      const answers = await Promise.all(open.map((seq) => raw.emitWithAck(`2#["view",{"post":"all","seq":${seq}}]`)));
      const results = answers as { ok: boolean; error?: { code: string; retryAfterMs: number } }[];
      const waitMs = Math.max(0, ...results.map(({ error }) => error?.retryAfterMs ?? 0));
      open = open.filter((_, i) => !results[i]!.ok);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
    const response = await fetch(`${own.url}/v1/all/views`);
    expect(await response.json()).toMatchObject({ count: 3_000 });
    raw.destroy();
  });
});
