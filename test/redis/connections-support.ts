import { createHash } from 'node:crypto';
import { type Clock, systemClock } from '../../src/common/clock.js';
import { RedisClient } from '../../src/store/redis/client/redis-client.js';
import { parseRedisUrl } from '../../src/config/redis-url.js';
import type { RunnableScript } from '../../src/store/redis/client/server.js';

/** Adds one to KEYS[1]; returns the sum and the run id in ARGV[1]. */
export const INCR = makeScript("return { redis.call('INCR', KEYS[1]), ARGV[1] }");
export const GET = makeScript("return redis.call('GET', KEYS[1])");

export interface Opened {
  readonly connections: RedisClient;
  readonly warnings: string[];
  /** How often `reconnected` has emitted. */
  readonly reconnections: () => number;
}

const opened: RedisClient[] = [];

export async function open(
  url: string,
  {
    replicated = false,
    clock = systemClock,
    setting = 'REDIS_URL',
  }: { replicated?: boolean; clock?: Clock; setting?: 'REDIS_URL' | 'LOG_URL' } = {},
): Promise<Opened> {
  const warnings: string[] = [];
  let reconnections = 0;
  const connections = await RedisClient.open(parseRedisUrl(url), {
    setting,
    clock,
    replicated,
    warn: (message) => warnings.push(message),
  });
  opened.push(connections);
  connections.reconnected.subscribe(() => (reconnections += 1));
  return { connections, warnings, reconnections: () => reconnections };
}

export async function closeConnections(): Promise<void> {
  await Promise.all(opened.splice(0).map((connections) => connections.close()));
}

export function makeScript(source: string): RunnableScript {
  return { source, sha: createHash('sha1').update(source).digest('hex') };
}

/** @returns the sum after the increment */
export async function increment(connections: RedisClient, key: string): Promise<number> {
  const [sum] = (await connections.write(INCR, [key], [])) as [number, string];
  return sum;
}

export async function succeeds(call: Promise<unknown>): Promise<boolean> {
  return await call.then(
    () => true,
    () => false,
  );
}
