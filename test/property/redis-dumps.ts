import type { Redis } from 'ioredis';

/** Everything in a server, by key, as DUMP returns it. */
export async function readContents(client: Redis): Promise<Map<string, Buffer>> {
  const contents = new Map<string, Buffer>();
  for (const key of await client.keys('*')) contents.set(key, await client.dumpBuffer(key));
  return contents;
}

/** Replaces everything in a server. */
export async function writeContents(client: Redis, contents: ReadonlyMap<string, Buffer>): Promise<void> {
  await client.flushall();
  for (const [key, dump] of contents) await client.restore(key, 0, dump, 'REPLACE');
}
