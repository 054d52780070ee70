import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterAll } from '@jest/globals';

/**
 * Below the ports that systems assign to outgoing connections. A client could take such a port while its server is down,
 * or a client that keeps trying the dead server could get that port and connect to itself.
 */
const LOWEST_PORT = 12_000;
const END_PORT = 32_000;
const ATTEMPTS = 100;
const HOST = '127.0.0.1';

/**
 * A returned port is not bound yet, and its server may be down for a while. Until the test file ends, a UDP socket on the
 * port of the same number keeps it from all other test processes: no server under test uses UDP, and the system closes the
 * socket however this process ends.
 */
const reservations: Socket[] = [];

afterAll(() => {
  for (const reservation of reservations.splice(0)) reservation.close();
});

/** @returns a port of 127.0.0.1 where nothing listens; until this test file ends no other call returns it, in any process */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = randomInt(LOWEST_PORT, END_PORT);
    const reservation = await reserve(port);
    if (reservation === undefined) continue;
    if (await isFree(port)) {
      reservations.push(reservation);
      return port;
    }
    reservation.close();
  }
  throw new Error(`no free port of ${HOST} in ${ATTEMPTS} attempts from ${LOWEST_PORT} to ${END_PORT}`);
}

/** @returns undefined if the port is reserved already */
async function reserve(port: number): Promise<Socket | undefined> {
  const socket = createSocket('udp4').unref();
  try {
    socket.bind(port, HOST);
    await once(socket, 'listening');
    return socket;
  } catch {
    socket.close();
    return undefined;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, HOST);
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
