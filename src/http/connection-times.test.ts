import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterEach, expect, it } from '@jest/globals';
import { limitConnectionTimes } from './connection-times.js';

const STALLED_MS = 200;
const LONG_MS = 600_000;
/** More than the system keeps for a client that does not read. */
const LARGE = Buffer.alloc(32 * 2 ** 20);

let server: Server;
const sockets: Socket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server.close();
  server.closeAllConnections();
});

async function asking(request: string, listener: RequestListener): Promise<{ peer: Socket; closed: Promise<unknown> }> {
  server = createServer(listener);
  limitConnectionTimes(server, LONG_MS, STALLED_MS);
  const came = once(server, 'connection') as Promise<[Socket]>;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  sockets.push(client.on('error', () => undefined));
  client.pause().write(request);
  const [peer] = await came;
  return { peer, closed: new Promise((resolve) => peer.once('close', resolve)) };
}

it('a connection that sends half a body and stops is ended', async () => {
  const { closed } = await asking('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf', () => undefined);
  await closed;
});

it('a connection whose client does not read its response is ended', async () => {
  const { closed } = await asking(
    'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
    (_request, response) => void response.end(LARGE),
  );
  await closed;
});

it('a stream with occasional writes and a connection between two requests stay open', async () => {
  let beats = 0;
  const { peer } = await asking('GET / HTTP/1.1\r\nHost: a\r\n\r\n', (_request, response) => {
    const timer = setInterval(() => {
      response.write(': heartbeat\n\n');
      beats += 1;
      if (beats < 40) return;
      clearInterval(timer);
      response.end();
    }, STALLED_MS / 20);
  });
  while (beats < 40) await new Promise((resolve) => setTimeout(resolve, STALLED_MS));
  await new Promise((resolve) => setTimeout(resolve, 2 * STALLED_MS));
  expect(peer.destroyed).toBe(false);
});
