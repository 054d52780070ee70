import { Agent, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, closeClients, connect, expectOk } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';

/** Sessions of a bucket that an address may start at once. */
const BURST = 4_096;
/** One bucket, so that all operations are in it; no limits except the tested one. */
const ENV = {
  TRUST_PROXY: 'loopback',
  FLUSH_MS: '0',
  BUCKETS: '1',
  MAX_OPS_PER_CONNECTION: '0',
  MAX_OPS_PER_ADDRESS: '1000000',
};
/** Stretched time, so that the limit does not refill during a test, even on a slow machine. */
const SLOW = { timeScale: 1_000 };
const ATTACKER = '203.0.113.1';

let gateway: GatewayProcess;
let agent: Agent;
/** Numbers of the attacker's responses by status code. */
const statuses = new Map<number, number>();

function clientAt(address: string, session: string): Client {
  return connect(gateway.url, { session }, { extraHeaders: { 'X-Forwarded-For': address } });
}

/** Counts a view once for this key. `fetch` takes several times as long for thousands of them. */
function view(address: string, key: string | null): Promise<number> {
  const headers = { 'X-Forwarded-For': address, ...(key !== null && { 'Idempotency-Key': key }) };
  return new Promise((resolve, reject) => {
    request(`${gateway.url}/v1/page/views`, { method: 'PUT', agent, headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode!));
    })
      .on('error', reject)
      .end('{"action":"increment"}');
  });
}

async function seen(): Promise<number> {
  const response = await fetch(`${gateway.url}/v1/page/views`);
  return ((await response.json()) as { count: number }).count;
}

beforeAll(async () => {
  gateway = await startGateway(ENV, SLOW);
  agent = new Agent({ keepAlive: true, maxSockets: 32 });
});

afterAll(async () => {
  agent.destroy();
  await closeClients();
  await stopAll();
});

describe('session marks of an address', () => {
  let honest: Client;
  let early: Client;

  beforeAll(async () => {
    honest = clientAt('203.0.113.2', 'honest-session');
    expectOk(await honest.emitWithAck('view', { post: 'page', seq: 1 }));
    // A session of the attacker's address that is stored already.
    early = clientAt(ATTACKER, 'early-session');
    expectOk(await early.emitWithAck('view', { post: 'page', seq: 1 }));
    const keys = Array.from({ length: BURST + 500 }, (_, i) => `made-up-key-${i}`);
    for (const status of await Promise.all(keys.map((key) => view(ATTACKER, key)))) {
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  });

  it('an address starts as many sessions as its limit, and gets RATE_LIMITED for more', async () => {
    // The early session counts towards the limit.
    expect(Object.fromEntries(statuses)).toEqual({ 200: BURST - 1, 429: 501 });
    const late = clientAt(ATTACKER, 'late-session');
    const { ok, error } = (await late.emitWithAck('view', { post: 'page', seq: 1 })) as unknown as {
      ok: boolean;
      error: { code: string; message: string; retryAfterMs: number };
    };
    expect({ ok, code: error.code }).toEqual({ ok: false, code: 'RATE_LIMITED' });
    expect(error.message).toContain('too many new sessions or keys');
    expect(error.retryAfterMs).toBeGreaterThan(0);
    // Operations without a session are rejected, too, because they must not overtake the rejected ones.
    expect((await late.emitWithAck('view', { post: 'page' })).ok).toBe(false);
  });

  it('an address at its limit of sessions may act without a session and in existing sessions', async () => {
    const before = await seen();
    expect(await view(ATTACKER, null)).toBe(200);
    const { duplicate } = expectOk(await early.emitWithAck('view', { post: 'page', seq: 2 }));
    expect(duplicate).toBe(false);
    expect(expectOk(await early.emitWithAck('view', { post: 'page', seq: 2 })).duplicate).toBe(true);
    expect(await seen()).toBe(before + 2);
  });

  it('an address at its limit of sessions cannot make a retry of another address count twice', async () => {
    const before = await seen();
    expect(expectOk(await honest.emitWithAck('view', { post: 'page', seq: 1 })).duplicate).toBe(true);
    expect(await view('203.0.113.2', 'honest-key')).toBe(200);
    expect(await view('203.0.113.2', 'honest-key')).toBe(200);
    expect(await seen()).toBe(before + 1);
  });

  it('an address at its limit of sessions is counted in the metrics and logged once', async () => {
    const metrics = await readMetrics(gateway.url);
    expect(metrics.get('tallycast_suspicious_total{kind="marks"}')).toBe(502);
    const lines = gateway.log.filter((line) => line.includes(ATTACKER));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('Idempotency-Keys');
  });
});

it('loopback may start any number of sessions', async () => {
  const keys = Array.from({ length: BURST + 100 }, (_, i) => `own-key-${i}`);
  const answers = await Promise.all(keys.map((key) => view('127.0.0.1', key)));
  expect(new Set(answers)).toEqual(new Set([200]));
});
