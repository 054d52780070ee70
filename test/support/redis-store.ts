import type { Redis } from 'ioredis';
import type { ActorKeys } from '../../src/counters/ids.js';
import { MILESTONE_FINAL_MS } from '../../src/counters/milestones.js';
import { RedisClient } from '../../src/store/redis/client/redis-client.js';
import { parseRedisUrl } from '../../src/config/redis-url.js';
import { RedisStore, type RedisStoreOptions } from '../../src/store/redis/redis-store.js';
import { patientClock } from './patient-clock.js';

export interface OpenOptions extends Pick<RedisStoreOptions, 'metrics' | 'buckets'> {
  /** `hash` if left out. */
  readonly actorKeys?: ActorKeys;
  readonly gateway?: string;
  readonly publishIntervalMs?: number;
  readonly replicated?: boolean;
  /** Name of a region with peers, unless `hasPeers` is false; and the nonces of its incarnations. */
  readonly region?: string;
  readonly hasPeers?: boolean;
  readonly peers?: readonly string[];
  readonly nonce?: () => number;
}

let storesOpened = 0;

/** Opens a store like a gateway's on the servers in `url`. */
export async function openRedisStore(
  url: string,
  {
    actorKeys = 'hash',
    gateway = `gateway-${++storesOpened}`,
    publishIntervalMs = 5,
    replicated = false,
    region = 'local',
    hasPeers = region !== 'local',
    peers = [],
    nonce = () => 7,
    ...data
  }: OpenOptions,
): Promise<RedisStore> {
  const connections = await RedisClient.open(parseRedisUrl(url), {
    clock: patientClock,
    replicated,
    warn: () => undefined,
  });
  const options = {
    ...data,
    actorKeys,
    region,
    hasPeers,
    peers,
    gateway,
    publishIntervalMs,
    nonce,
    wallMs: () => Date.now(),
  };
  return RedisStore.open(connections, patientClock, options).catch(async (error: unknown) => {
    await connections.close();
    throw error;
  });
}

/** A store for the contract tests, closed before it is opened again. */
export async function openReopenable(url: string, options: OpenOptions) {
  let store = await openRedisStore(url, options);
  return {
    store,
    async reopen() {
      await store.close();
      store = await openRedisStore(url, options);
      return store;
    },
    close: () => store.close(),
  };
}

/** Makes the records of milestones on these servers so old that they are final, as if the servers' clocks had gone on. */
export async function makeMilestonesFinal(servers: readonly Redis[]): Promise<void> {
  for (const server of servers) {
    for (const key of await server.keys('tc:*:milestone_records')) {
      await server.eval(
        AGE_MILESTONES,
        2,
        key,
        key.replace('milestone_records', 'provisional_milestones'),
        String(MILESTONE_FINAL_MS),
      );
    }
  }
}

/** Record values: docs/redis-keys.md. */
const AGE_MILESTONES = `
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local values = { cmsgpack.unpack(stored[i + 1]) }
  for recorded_at = 11, #values, 14 do values[recorded_at] = math.max(values[recorded_at] - ARGV[1], 0) end
  redis.call('HSET', KEYS[1], stored[i], cmsgpack.pack(unpack(values)))
end
for _, entry in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do redis.call('ZINCRBY', KEYS[2], -ARGV[1], entry) end`;
