import type { Clock } from '../common/clock.js';
import { isOnServer } from '../config/log-url.js';
import type { Settings } from '../config/settings.js';
import type { EventLog } from '../log/event-log.js';
import { RedisLog } from '../log/redis/redis-log.js';
import { RedisClient } from '../store/redis/client/redis-client.js';
import { random64 } from './random64.js';

/** @returns `null` without LOG_URL. @throws Error with one line */
export async function openLog(
  { log, logEventsMax: eventsMax, redis, ack }: Settings,
  clock: Clock,
  warn: (message: string) => void,
): Promise<EventLog | null> {
  if (log === null) return null;
  if (redis !== null && isOnServer(log, redis)) {
    warn('LOG_URL names a server of REDIS_URL: the log is down whenever the counts are; use another server');
  }
  const replicated = ack === 'replicated';
  const client = await RedisClient.open(log.redis, { setting: 'LOG_URL', clock, replicated, warn });
  return await RedisLog.open(client, { clock, eventsMax, newName: random64 });
}
