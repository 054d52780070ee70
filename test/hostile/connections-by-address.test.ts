import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { io, type Socket } from 'socket.io-client';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { RawSocket } from '../support/raw-socket.js';
import { until } from '../support/until.js';

const MAX = 2;
/** WebSockets of an address beyond its connections, which are being rejected or closed. */
const CLOSING_MAX = 50;
/** The two seconds for the answer to a close frame take twenty, so that a slow machine observes the time before. */
const TIME_SCALE = 10;
const ENV = { TRUST_PROXY: 'loopback', MAX_CONNECTIONS_PER_ADDRESS: String(MAX) };

let gateway: GatewayProcess;
let slow: GatewayProcess;
const opened: RawSocket[] = [];
const clients: Socket[] = [];
let addresses = 0;

beforeAll(async () => {
  [gateway, slow] = await Promise.all([startGateway(ENV), startGateway(ENV, { timeScale: TIME_SCALE })]);
});

afterAll(async () => {
  for (const raw of opened) raw.destroy();
  for (const client of clients) client.close();
  await stopAll();
});

/** Headers of a client at a new address. */
function stranger(): Record<string, string> {
  return { 'X-Forwarded-For': `203.0.113.${(addresses += 1)}` };
}

async function open(url: string, headers: Record<string, string>): Promise<RawSocket> {
  const raw = await RawSocket.open(url, undefined, headers);
  opened.push(raw);
  return raw;
}

/** Resolves with the answer to a handshake: `40` and its socket, or `44` and the reason. */
async function shake(raw: RawSocket): Promise<string> {
  const answered = raw.nextMessage((text) => text.startsWith('40') || text.startsWith('44'));
  raw.send('40');
  return answered;
}

async function admitted(url: string, headers: Record<string, string>): Promise<boolean> {
  const raw = await open(url, headers).catch(() => null);
  if (raw === null) return false;
  const answer = await shake(raw);
  raw.destroy();
  return answer.startsWith('40');
}

describe('a connection counts for its address', () => {
  it('a connection counts for its address until its TCP connection is closed, even after a disconnect of Socket.IO', async () => {
    const headers = stranger();
    const opened = [await open(slow.url, headers), await open(slow.url, headers)];
    for (const raw of opened) {
      raw.answersClose = false;
      expect(await shake(raw)).toMatch(/^40/);
    }
    for (const raw of opened) raw.send('41');
    await until(async () => (await readMetrics(slow.url)).get('tallycast_sockets') === 0, 'no sockets');
    expect(opened.map(({ socket }) => socket.destroyed)).toEqual([false, false]);
    expect(await admitted(slow.url, headers)).toBe(false);
    await Promise.all(opened.map(({ closed }) => closed));
    await until(() => admitted(slow.url, headers), 'a free place');
  });

  it('a connection whose client ignores the close frame counts for two seconds, and then it is ended', async () => {
    const raw = await open(gateway.url, stranger());
    raw.answersClose = false;
    await shake(raw);
    raw.send('41');
    await raw.closed;
  });

  it('a session that upgrades from long-polling to a WebSocket counts once, until it ends', async () => {
    const extraHeaders = stranger();
    for (let i = 0; i < MAX; i++) {
      const client = io(gateway.url, { extraHeaders, forceNew: true, reconnection: false });
      clients.push(client);
      await new Promise<void>((resolve) => void client.io.engine.once('upgrade', () => resolve()));
      await until(() => client.connected, 'a socket');
    }
    expect(await admitted(gateway.url, extraHeaders)).toBe(false);
    clients.splice(0)[0]!.close();
    await until(() => admitted(gateway.url, extraHeaders), 'a free place');
  });
});

describe('WebSockets without a handshake', () => {
  it('WebSockets without a handshake are limited for each address, are logged with it, and are accepted again later', async () => {
    const headers = stranger();
    const results = await Promise.allSettled(
      Array.from({ length: MAX + CLOSING_MAX + 5 }, () => open(gateway.url, headers)),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(MAX + CLOSING_MAX);
    const rejected = results.find((result) => result.status === 'rejected');
    expect(String(rejected?.reason)).toContain('answered 429');
    const lines = gateway.log.filter((line) => line.includes(`(connections): address ${headers['X-Forwarded-For']} `));
    expect(lines).toHaveLength(1);
    expect(await admitted(gateway.url, stranger())).toBe(true);
    for (const result of results) if (result.status === 'fulfilled') result.value.destroy();
    await until(() => admitted(gateway.url, headers), 'free places');
    await until(() => admitted(gateway.url, headers), 'connections are admitted again');
  });
});
