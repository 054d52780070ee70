import { formatAddress, parseRedisUrl, type RedisTarget } from './redis-url.js';

/** The server of a log of events. */
export interface LogTarget {
  readonly scheme: 'redis';
  readonly redis: RedisTarget;
}

const FORMS = 'redis://host:port or redis+sentinel://host:port,host:port/master';
const REDIS_SCHEME = /^rediss?(\+[a-z]+)?:\/\//;

/** @throws Error whose message goes on from "LOG_URL " and never holds a password */
export function parseLogUrl(text: string): LogTarget {
  if (!REDIS_SCHEME.test(text)) throw new Error(`must be ${FORMS} (rediss for TLS)`);
  const redis = parseRedisUrl(text);
  if (redis.kind === 'cluster') throw new Error(`names a cluster, and a log is on one server: use ${FORMS}`);
  return { scheme: 'redis', redis };
}

/** Whether the log is on a server that also has the counts, in any database. Two names of one host are not recognized. */
export function isOnServer({ redis }: LogTarget, store: RedisTarget): boolean {
  if (redis.master !== store.master) return false;
  const addresses = new Set(store.addresses.map(formatAddress));
  return redis.addresses.some((address) => addresses.has(formatAddress(address)));
}
