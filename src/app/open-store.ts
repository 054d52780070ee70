import { randomInt } from 'node:crypto';
import type { Clock } from '../common/clock.js';
import type { Settings } from '../config/settings.js';
import type { CopyableStore } from '../store/change-store.js';
import { checkDirectory } from '../store/embedded/disk/directory-check.js';
import { EmbeddedStore } from '../store/embedded/embedded-store.js';
import { RedisClient } from '../store/redis/client/redis-client.js';
import { RedisStore } from '../store/redis/redis-store.js';
import { random64 } from './random64.js';

/**
 * How often in a tick a post is published to the other gateways. A change that is published just after a viewer's frame waits for
 * the next frame, so it may take one interval and one tick until all viewers have it.
 */
const PUBLICATIONS_A_TICK = 2;

/** Passed in, so that a command which opens a store does without NestJS. */
type Warn = (message: string) => void;

/** @returns `null` without REDIS_URL */
export function openRedis({ redis, ack }: Settings, clock: Clock, warn: Warn): Promise<RedisClient> | null {
  return redis && RedisClient.open(redis, { clock, replicated: ack === 'replicated', warn });
}

/** @param connections `null`: the embedded store */
export async function openStore(
  settings: Settings,
  connections: RedisClient | null,
  clock: Clock,
  dataClock: Clock,
  warn: Warn,
): Promise<CopyableStore> {
  const { dataDir, buckets, actorKeys, metrics, region } = settings;
  const hasPeers = settings.peers.length > 0;
  const data = { buckets, actorKeys, metrics, region, nonce: () => randomInt(2 ** 32) };
  if (connections === null) {
    await checkDirectory(dataDir, warn);
    const replication = { wallMs: () => dataClock.wallMs(), peers: settings.peers.map(({ region: name }) => name) };
    return new EmbeddedStore({ path: dataDir, ...data, warn, ...(hasPeers && { replication }) });
  }
  const publishMs = settings.tickMs / PUBLICATIONS_A_TICK;
  const wallMs = (): number => dataClock.wallMs();
  return RedisStore.open(connections, clock, {
    ...data,
    gateway: random64(),
    publishIntervalMs: publishMs,
    hasPeers,
    peers: settings.peers.map((peer) => peer.region),
    wallMs,
    warn,
  });
}
