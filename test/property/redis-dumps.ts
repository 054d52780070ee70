import type { Redis } from 'ioredis';

/** Everything in a server, by key, as DUMP returns it. */
export async function readContents(client: Redis): Promise<Map<string, Buffer>> {
  const keys = await client.keys('*');
  const dumps = await Promise.all(keys.map((key) => client.dumpBuffer(key)));
  return new Map(keys.map((key, i) => [key, dumps[i]!]));
}

/** Replaces everything in a server. */
export async function writeContents(client: Redis, contents: ReadonlyMap<string, Buffer>): Promise<void> {
  await client.flushall();
  await Promise.all([...contents].map(([key, dump]) => client.restore(key, 0, dump, 'REPLACE')));
}
