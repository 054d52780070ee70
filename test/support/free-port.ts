import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below the ports that systems assign to outgoing connections. A client could take such a port while its server is down,
 * or a client that keeps trying the dead server could get that port and connect to itself.
 */
const LOWEST_PORT = 12_000;
const END_PORT = 32_000;
const ATTEMPTS = 100;

/** Ports returned before: they may not be bound yet, or their server may be down for a moment. */
const used = new Set<number>();

/** @returns a port of 127.0.0.1 where nothing listens, never the same twice in a test file */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = randomInt(LOWEST_PORT, END_PORT);
    if (used.has(port)) continue;
    used.add(port);
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
