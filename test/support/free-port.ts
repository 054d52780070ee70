import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below the ports that systems give to outgoing connections. One of those could be taken by any client while its server
 * is down; or a client that keeps trying the dead server would one day be given that port and be connected to itself.
 */
const LOWEST_PORT = 12_000;
const END_PORT = 32_000;
const ATTEMPTS = 100;

/** They may be about to be bound, or their server be down for a moment. */
const given = new Set<number>();

/** A port of 127.0.0.1 where nothing listens, and that this test file has not been given before. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = randomInt(LOWEST_PORT, END_PORT);
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port of 127.0.0.1 in ${ATTEMPTS} attempts from ${LOWEST_PORT} to ${END_PORT}`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
