import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Server } from 'socket.io';
import type { WebSocket } from 'ws';
import { AddressLimiter } from '../../src/access/address-limiter.js';
import { SuspicionLog } from '../../src/access/suspicion-log.js';
import { systemClock } from '../../src/common/clock.js';
import { createGuardedServer } from '../../src/gateway/transport/bounded-websocket-server.js';
import { PendingHandshakes } from '../../src/gateway/pending-handshakes.js';
import { terminateConnection } from '../../src/gateway/transport/engine-internals.js';
import { HandshakeBytes } from '../../src/gateway/handshake-bytes.js';
import type { FlowControl } from '../../src/gateway/connection-flow-control.js';
import { encodeFrame, OPCODE, RawSocket } from '../support/raw-socket.js';
import { until } from '../support/until.js';

const LIMITS = { ofAddress: 8, ofAll: 20 };
const BYTES_MAX_OF_ALL = 100_000;
const HOSTILE = ['203.0.113.1', '203.0.113.2', '203.0.113.3'];
const VICTIM = '198.51.100.1';

/** Limits of all addresses together on a separate server, because those of a gateway are too high for a test. */
const server = createServer();
const warnings: string[] = [];
const addresses = new AddressLimiter(
  { operationsPerSecond: 500, connectionsMax: 200, trustProxy: ['127.0.0.1'] },
  systemClock,
  () => undefined,
);
const suspicions = new SuspicionLog(systemClock, (line) => warnings.push(line));
const connecting = new PendingHandshakes(addresses, suspicions, LIMITS);
const bytes = new HandshakeBytes(suspicions, BYTES_MAX_OF_ALL);
let url: string;
let io: Server;

beforeAll(async () => {
  const watch = (webSocket: WebSocket, request: IncomingMessage, tcp: Parameters<HandshakeBytes['watch']>[2]): void =>
    bytes.watch({ address: addresses.addressOf(request) } as FlowControl, webSocket, tcp);
  io = new Server(server, {
    connectTimeout: 600_000,
    wsEngine: createGuardedServer({ admits: () => true, webSocketOpened: watch }),
    allowRequest: (request, answer) => answer('too many', connecting.mayBegin(request)),
  });
  io.engine.on('connection', (connection: Parameters<PendingHandshakes['begin']>[0]) => connecting.begin(connection));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.close();
  server.closeAllConnections();
});

/** Starts a handshake without completing it. @returns `null` if it was rejected */
async function begin(address: string): Promise<RawSocket | null> {
  return RawSocket.open(url, undefined, { 'X-Forwarded-For': address }).catch(() => null);
}

/** A fragment of a message that is never complete. */
function fragment(size: number, opcode: number): Buffer {
  return encodeFrame('x'.repeat(size), { fin: false, opcode });
}

function suspected(kind: string, address: string): number {
  return warnings.filter((line) => line.includes(`(${kind})`) && line.includes(`${address} `)).length;
}

it('an address over its limit of handshakes is rejected and logged', async () => {
  const all = await Promise.all(Array.from({ length: LIMITS.ofAddress }, () => begin(HOSTILE[0]!)));
  expect([all.includes(null), await begin(HOSTILE[0]!), suspected('handshakes', HOSTILE[0]!)]).toEqual([
    false,
    null,
    1,
  ]);
  for (const raw of all) raw!.destroy();
  await until(async () => {
    const raw = await begin(HOSTILE[0]!);
    raw?.destroy();
    return raw !== null;
  }, 'its handshakes are admitted again');
});

it('the address with most handshakes loses them if all together have too many', async () => {
  const hostile = await Promise.all(HOSTILE.flatMap((address) => [1, 2, 3, 4, 5, 6].map(() => begin(address))));
  await Promise.all([begin(HOSTILE[1]!), begin(HOSTILE[1]!)]);
  const first = await begin(VICTIM);
  const second = await begin(VICTIM);
  expect([first, second].includes(null)).toBe(false);
  await Promise.all(hostile.slice(6, 12).map((raw) => raw!.closed));
  expect([first!.socket.destroyed, suspected('handshakes', VICTIM)]).toEqual([false, 0]);
  for (const raw of [...hostile, first, second]) raw!.destroy();
});

it('handshakes over long-polling are ended, too, even those that are closing without a poll', async () => {
  const address = '203.0.113.9';
  const poll = (from: string): Promise<Response> =>
    fetch(`${url}/socket.io/?EIO=4&transport=polling`, { headers: { 'X-Forwarded-For': from } });
  await until(() => io.engine.clientsCount === 0, 'no client is left');
  for (let i = 0; i < LIMITS.ofAll; i++)
    expect((await poll(i < LIMITS.ofAddress ? address : `203.0.113.${20 + (i % 4)}`)).status).toBe(200);
  const { clients } = io.engine as unknown as { clients: Record<string, { close(): void }> };
  for (const client of Object.values(clients)) client.close();
  const statuses = [(await poll(VICTIM)).status, (await poll(VICTIM)).status];
  expect([statuses, suspected('handshakes', address)]).toEqual([[200, 200], 1]);
  for (const client of Object.values(clients)) terminateConnection(client as never);
});

it('the address with most sent bytes is ended if all together have sent too much', async () => {
  const victim = await begin(VICTIM);
  victim!.write(fragment(1_000, OPCODE.text));
  const [one, other] = await Promise.all([begin(HOSTILE[0]!), begin(HOSTILE[1]!)]);
  one!.write(fragment(40_000, OPCODE.text));
  other!.write(fragment(60_000, OPCODE.text));
  await other!.closed;
  victim!.write(fragment(1_000, OPCODE.continuation));
  expect([victim!.socket.destroyed, one!.socket.destroyed, suspected('handshakes', VICTIM)]).toEqual([false, false, 0]);
});
