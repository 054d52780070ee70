import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';

const STREAMS_MAX = 3;
const ADDRESS = '203.0.113.7';

/** Another region that never answers, so that requests to it wait for 5 s. */
const silentPeer = createServer((socket) => socket.on('error', () => undefined));

let gateway: GatewayProcess;

beforeAll(async () => {
  await once(silentPeer.listen(0, '127.0.0.1'), 'listening');
  const { port } = silentPeer.address() as AddressInfo;
  gateway = await startGateway({
    ...{ TRUST_PROXY: '127.0.0.1', MAX_CONNECTIONS_PER_ADDRESS: String(STREAMS_MAX) },
    ...{ REGION: 'eu', PEERS: `us=http://127.0.0.1:${port}`, PEER_TOKEN: 'x'.repeat(16) },
  });
});

afterAll(async () => {
  await stopAll();
  silentPeer.close();
});

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: ${ADDRESS}\r\n\r\n`;
}

async function live(post: string): Promise<number> {
  const { count } = (await (await fetch(`${gateway.url}/v1/${post}/live`)).json()) as { count: number };
  return count;
}

/** Sends all requests in one write. @returns a function that returns the responses so far */
async function pipelined(text: string): Promise<{ socket: Socket; answers: () => string }> {
  const socket = connect(gateway.port, '127.0.0.1').setEncoding('latin1');
  let answers = '';
  socket.on('data', (data: string) => (answers += data));
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.write(text, 'latin1', () => resolve()));
  return { socket, answers: () => answers };
}

/**
 * Opens a stream on its own connection for each allowed connection of the address. Retries, because connections that
 * were closed at once may reach the gateway later.
 */
async function expectStreamsAdmitted(post: string): Promise<void> {
  const areFree = async (): Promise<boolean> => {
    const streams = await Promise.all(
      Array.from({ length: STREAMS_MAX }, () => pipelined(get(`/v1/stream?posts=${post}`))),
    );
    await until(() => streams.every(({ answers }) => answers() !== ''), 'answers');
    const taken = streams.filter(({ answers }) => answers().startsWith('HTTP/1.1 200 '));
    for (const { socket } of streams) socket.destroy();
    await until(async () => (await live(post)) === 0, 'no viewer');
    return taken.length === STREAMS_MAX;
  };
  await until(areFree, 'all connections are allowed');
}

it('a connection is at most one viewer, even with several stream requests, and none when it is closed', async () => {
  const { socket, answers } = await pipelined(get('/v1/stream?posts=ghost').repeat(200));
  await until(() => answers().includes('event: counts'), 'the first stream');
  expect(await live('ghost')).toBe(1);
  socket.destroy();
  await until(async () => (await live('ghost')) === 0, 'no viewer');
  await expectStreamsAdmitted('ghost');
});

it('streams whose connection is closed at once leave no viewer behind', async () => {
  for (let i = 0; i < 20; i++) {
    const { socket } = await pipelined(get('/v1/stream?posts=brief').repeat(20));
    socket.destroy();
  }
  await until(async () => (await live('brief')) === 0, 'no viewer');
  await expectStreamsAdmitted('brief');
});

it('a stream that waits for an earlier response ends with its connection', async () => {
  const { socket } = await pipelined(get('/v1/a/views?consistency=all') + get('/v1/stream?posts=behind'));
  await until(async () => (await live('behind')) === 1, 'a viewer');
  socket.destroy();
  await until(async () => (await live('behind')) === 0, 'no viewer');
  await expectStreamsAdmitted('behind');
});

it('a connection serves the next request after a rejected stream', async () => {
  const { socket, answers } = await pipelined(get('/v1/stream?posts=a,,b') + get('/v1/stream?posts=again'));
  await until(() => answers().includes('event: counts'), 'the second stream');
  expect(answers()).toMatch(/^HTTP\/1\.1 400 [^]*HTTP\/1\.1 200 /);
  socket.destroy();
  await until(async () => (await live('again')) === 0, 'no viewer');
});
