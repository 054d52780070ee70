import { Agent, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, closeClients, connect, expectOk } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';

/** Marks of a bucket that an address may begin at once. */
const BURST = 4_096;
/** One bucket, so that all that is sent meets in it; no limits but the one that is looked at. */
const ENV = {
  TRUST_PROXY: 'loopback',
  FLUSH_MS: '0',
  BUCKETS: '1',
  MAX_OPS_PER_CONNECTION: '0',
  MAX_OPS_PER_ADDRESS: '1000000',
};
/** So that nothing comes back to the share while a test looks, on however slow a machine. */
const SLOW = { timeScale: 1_000 };
const ATTACKER = '203.0.113.1';

let gateway: GatewayProcess;
let agent: Agent;
/** What the attacker's requests were answered: status codes with how often. */
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

describe('an address that begins session marks without end', () => {
  let honest: Client;
  let early: Client;

  beforeAll(async () => {
    honest = clientAt('203.0.113.2', 'honest-session');
    expectOk(await honest.emitWithAck('view', { post: 'page', seq: 1 }));
    // A session of the attacker's own address, whose mark is begun already.
    early = clientAt(ATTACKER, 'early-session');
    expectOk(await early.emitWithAck('view', { post: 'page', seq: 1 }));
    const keys = Array.from({ length: BURST + 500 }, (_, i) => `made-up-key-${i}`);
    for (const status of await Promise.all(keys.map((key) => view(ATTACKER, key)))) {
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  });

  it('begins its share of them, and is told to wait for more', async () => {
    // One of the share is the early session's.
    expect(Object.fromEntries(statuses)).toEqual({ 200: BURST - 1, 429: 501 });
    const late = clientAt(ATTACKER, 'late-session');
    const { ok, error } = (await late.emitWithAck('view', { post: 'page', seq: 1 })) as unknown as {
      ok: boolean;
      error: { code: string; message: string; retryAfterMs: number };
    };
    expect({ ok, code: error.code }).toEqual({ ok: false, code: 'RATE_LIMITED' });
    expect(error.message).toContain('too many new sessions or keys');
    expect(error.retryAfterMs).toBeGreaterThan(0);
    // In order: nothing that comes later overtakes what was rejected, though it leaves no mark.
    expect((await late.emitWithAck('view', { post: 'page' })).ok).toBe(false);
  });

  it('goes on without marks, and in sessions that have theirs', async () => {
    const before = await seen();
    expect(await view(ATTACKER, null)).toBe(200);
    const { duplicate } = expectOk(await early.emitWithAck('view', { post: 'page', seq: 2 }));
    expect(duplicate).toBe(false);
    expect(expectOk(await early.emitWithAck('view', { post: 'page', seq: 2 })).duplicate).toBe(true);
    expect(await seen()).toBe(before + 2);
  });

  it('makes no honest retry count twice', async () => {
    const before = await seen();
    expect(expectOk(await honest.emitWithAck('view', { post: 'page', seq: 1 })).duplicate).toBe(true);
    expect(await view('203.0.113.2', 'honest-key')).toBe(200);
    expect(await view('203.0.113.2', 'honest-key')).toBe(200);
    expect(await seen()).toBe(before + 1);
  });

  it('is counted, and named once in the log', async () => {
    const metrics = await readMetrics(gateway.url);
    expect(metrics.get('tallycast_suspicious_total{kind="marks"}')).toBe(502);
    const lines = gateway.log.filter((line) => line.includes(ATTACKER));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('Idempotency-Keys');
  });
});

it('loopback may begin as many marks as it likes', async () => {
  const keys = Array.from({ length: BURST + 100 }, (_, i) => `own-key-${i}`);
  const answers = await Promise.all(keys.map((key) => view('127.0.0.1', key)));
  expect(new Set(answers)).toEqual(new Set([200]));
});
