import type { Clock } from '../common/clock.js';
import { isOnServer } from '../config/log-url.js';
import type { NatsTarget } from '../config/nats-url.js';
import type { Settings } from '../config/settings.js';
import type { EventLog } from '../log/event-log.js';
import type { NatsLogOptions } from '../log/nats/nats-log.js';
import { RedisLog } from '../log/redis/redis-log.js';
import { RedisClient } from '../store/redis/client/redis-client.js';
import { random64 } from './random64.js';

/** Bytes of a stream of NATS for each event: more than an entry with a single view takes (docs/events.md). */
const BYTES_PER_EVENT = 200;

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
  if (log.scheme === 'nats') return await openNatsLog(log.nats, { eventsMax, clock, warn });
  const replicated = ack === 'replicated';
  const client = await RedisClient.open(log.redis, { setting: 'LOG_URL', clock, replicated, warn });
  return await RedisLog.open(client, { clock, eventsMax, newName: random64 });
}

async function openNatsLog(
  target: NatsTarget,
  options: Pick<NatsLogOptions, 'eventsMax' | 'clock' | 'warn'>,
): Promise<EventLog> {
  const { server, stream, tls } = target;
  const url = `${tls ? 'nats+tls' : 'nats'}://${server}?stream=${stream}`;
  const bytesMax = options.eventsMax * BYTES_PER_EVENT;
  // Imported here, because loading the client takes a twentieth of the CPU of a boot.
  const { connectNats } = await import('../log/nats/connect-nats.js');
  const { NatsLog } = await import('../log/nats/nats-log.js');
  try {
    return await NatsLog.open(await connectNats(target), {
      ...options,
      stream,
      url,
      bytesMax,
      newName: random64,
    });
  } catch (error) {
    const { message, cause } = error as Error;
    // The client names some failures in the cause alone.
    const reason = message === '' && cause instanceof Error ? cause.message : message;
    throw new Error(`LOG_URL ${url}: ${reason}`, { cause: error });
  }
}
