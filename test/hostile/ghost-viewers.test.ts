import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';

const PLACES = 3;
const ADDRESS = '203.0.113.7';

/** Another region that never answers, so that who waits for it waits for 5 s. */
const silentPeer = createServer((socket) => socket.on('error', () => undefined));

let gateway: GatewayProcess;

beforeAll(async () => {
  await once(silentPeer.listen(0, '127.0.0.1'), 'listening');
  const { port } = silentPeer.address() as AddressInfo;
  gateway = await startGateway({
    ...{ TRUST_PROXY: '127.0.0.1', MAX_CONNECTIONS_PER_ADDRESS: String(PLACES) },
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

/** All of it in one write, and what is answered. */
async function pipelined(text: string): Promise<{ socket: Socket; answers: () => string }> {
  const socket = connect(gateway.port, '127.0.0.1').setEncoding('latin1');
  let answers = '';
  socket.on('data', (data: string) => (answers += data));
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.write(text, 'latin1', () => resolve()));
  return { socket, answers: () => answers };
}

/**
 * Every place of the address can be taken: by a stream on a connection of its own each. Tried again, because connections that
 * were closed at once may reach the gateway later than these.
 */
async function expectAllPlacesFree(post: string): Promise<void> {
  const areFree = async (): Promise<boolean> => {
    const streams = await Promise.all(Array.from({ length: PLACES }, () => pipelined(get(`/v1/stream?posts=${post}`))));
    await until(() => streams.every(({ answers }) => answers() !== ''), 'answers');
    const taken = streams.filter(({ answers }) => answers().startsWith('HTTP/1.1 200 '));
    for (const { socket } of streams) socket.destroy();
    await until(async () => (await live(post)) === 0, 'no viewer');
    return taken.length === PLACES;
  };
  await until(areFree, 'all places free');
}

it('a connection is one viewer at most, however many streams are asked for on it, and none when it is closed', async () => {
  const { socket, answers } = await pipelined(get('/v1/stream?posts=ghost').repeat(200));
  await until(() => answers().includes('event: counts'), 'the first stream');
  expect(await live('ghost')).toBe(1);
  socket.destroy();
  await until(async () => (await live('ghost')) === 0, 'no viewer');
  await expectAllPlacesFree('ghost');
});

it('streams whose connection is closed at once leave nothing behind', async () => {
  for (let i = 0; i < 20; i++) {
    const { socket } = await pipelined(get('/v1/stream?posts=brief').repeat(20));
    socket.destroy();
  }
  await until(async () => (await live('brief')) === 0, 'no viewer');
  await expectAllPlacesFree('brief');
});

it('a stream that waits behind another answer ends with its connection', async () => {
  const { socket } = await pipelined(get('/v1/a/views?consistency=all') + get('/v1/stream?posts=behind'));
  await until(async () => (await live('behind')) === 1, 'a viewer');
  socket.destroy();
  await until(async () => (await live('behind')) === 0, 'no viewer');
  await expectAllPlacesFree('behind');
});

it('a stream that was refused leaves its connection to the next request', async () => {
  const { socket, answers } = await pipelined(get('/v1/stream?posts=a,,b') + get('/v1/stream?posts=again'));
  await until(() => answers().includes('event: counts'), 'the second stream');
  expect(answers()).toMatch(/^HTTP\/1\.1 400 [^]*HTTP\/1\.1 200 /);
  socket.destroy();
  await until(async () => (await live('again')) === 0, 'no viewer');
});
