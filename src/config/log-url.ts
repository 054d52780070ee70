import { type NatsTarget, parseNatsTarget } from './nats-url.js';
import { formatAddress, parseRedisUrl, type RedisTarget } from './redis-url.js';

/** The server of a log of events. */
export type LogTarget =
  { readonly scheme: 'redis'; readonly redis: RedisTarget } | { readonly scheme: 'nats'; readonly nats: NatsTarget };

const REDIS_FORMS = 'redis://host:port or redis+sentinel://host:port,host:port/master';
const REDIS_SCHEME = /^rediss?(\+[a-z]+)?:\/\//;
const NATS_SCHEME = /^nats(\+tls)?:\/\//;

/** @throws Error whose message goes on from "LOG_URL " and never holds a password */
export function parseLogUrl(text: string): LogTarget {
  if (NATS_SCHEME.test(text)) return { scheme: 'nats', nats: parseNatsTarget(parseUrl(text)) };
  if (!REDIS_SCHEME.test(text))
    throw new Error(`must be ${REDIS_FORMS} (rediss for TLS), or nats://host:port?stream=NAME (nats+tls for TLS)`);
  const redis = parseRedisUrl(text);
  if (redis.kind === 'cluster') throw new Error(`names a cluster, and a log is on one server: use ${REDIS_FORMS}`);
  return { scheme: 'redis', redis };
}

/** Whether the log is on a server that also has the counts, in any database. Two names of one host are not recognized. */
export function isOnServer(log: LogTarget, store: RedisTarget): boolean {
  if (log.scheme !== 'redis') return false;
  const { redis } = log;
  if (redis.master !== store.master) return false;
  const addresses = new Set(store.addresses.map(formatAddress));
  return redis.addresses.some((address) => addresses.has(formatAddress(address)));
}

function parseUrl(text: string): URL {
  try {
    return new URL(text);
  } catch {
    throw new Error('is no URL; write nats://host:port?stream=NAME');
  }
}
