import type { ActorKeys } from '../../src/counters/ids.js';
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
    nonce = () => 7,
    ...data
  }: OpenOptions,
): Promise<RedisStore> {
  const connections = await RedisClient.open(parseRedisUrl(url), {
    clock: patientClock,
    replicated,
    warn: () => undefined,
  });
  const options = { ...data, actorKeys, region, hasPeers, gateway, publishIntervalMs, nonce, wallMs: () => Date.now() };
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
