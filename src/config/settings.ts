import { resolve } from 'node:path';
import { type Environment, ENVIRONMENT } from './environment-schema.js';
import { findGuestMetrics } from './guest-metrics.js';
import type { JwtSettings } from './jwt-settings.js';
import type { RedisTarget } from './redis-url.js';
import { checkRules } from './settings-rules.js';

/** The settings of a gateway: ENVIRONMENT describes each, with its values and its default. */
export type Settings = Readonly<ReturnType<typeof toSettings>>;

/** @throws Error with one line that names the variable and says what would be right */
export function readSettings(environment: NodeJS.ProcessEnv): Settings {
  const parsed = ENVIRONMENT.safeParse(withoutEmpty(environment));
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw new Error(`${String(path[0])} ${message}`);
  }
  checkRules(parsed.data);
  return toSettings(parsed.data);
}

function toSettings(env: Environment) {
  return {
    host: env.HOST,
    port: env.PORT,
    /** `''`, or a path without a slash at its end. */
    basePath: env.BASE_PATH ?? '',
    opsPort: env.OPS_PORT ?? null,
    keepAliveMs: env.KEEP_ALIVE_MS,
    trustProxy: env.TRUST_PROXY,
    workers: env.WORKERS,
    logLevel: env.LOG_LEVEL,
    dataDir: resolve(env.DATA_DIR),
    redis: toRedisTarget(env),
    ack: env.ACK,
    flushMs: env.FLUSH_MS,
    metrics: env.METRICS,
    countBots: env.COUNT_BOTS === 'true',
    tickMs: env.TICK_MS,
    live: env.LIVE,
    buckets: env.BUCKETS,
    actorKeys: env.ACTOR_KEYS,
    anonymousActors: env.ANONYMOUS_ACTORS,
    postSecret: env.POST_SECRET ?? null,
    publicUrl: env.PUBLIC_URL,
    allowedOrigins: env.ALLOWED_ORIGINS,
    jwt: toJwtSettings(env),
    requireTokenToRead: env.REQUIRE_TOKEN_TO_READ === 'true',
    guestMetrics: findGuestMetrics(env.GUEST_METRICS, env.METRICS),
    maxOpsPerConnection: env.MAX_OPS_PER_CONNECTION,
    maxOpsPerAddress: env.MAX_OPS_PER_ADDRESS,
    maxConnectionsPerAddress: env.MAX_CONNECTIONS_PER_ADDRESS,
    maxPostsPerConnection: env.MAX_POSTS_PER_CONNECTION,
    maxNewPostsPerAddress: env.MAX_NEW_POSTS_PER_ADDRESS,
    maxNewActorsPerAddress: env.MAX_NEW_ACTORS_PER_ADDRESS,
    region: env.REGION,
    peers: env.PEERS ?? [],
    peerToken: env.PEER_TOKEN ?? '',
    replicationIntervalMs: env.REPLICATION_INTERVAL_MS,
    adminToken: env.ADMIN_TOKEN ?? null,
    log: env.LOG_URL ?? null,
    logEventsMax: env.LOG_MAX,
    logIntervalMs: env.LOG_MS,
    logKeepMs: env.LOG_KEEP_S * 1_000,
    sinkUrls: env.SINK_URL ?? [],
    sinkIntervalMs: env.SINK_MS,
    sinkMembers: env.SINK_MEMBERS === 'true',
    sinkSecret: env.SINK_SECRET ?? null,
  };
}

function toRedisTarget({ REDIS_URL, REDIS_NAT_MAP }: Environment): RedisTarget | null {
  if (REDIS_URL === undefined) return null;
  return REDIS_NAT_MAP === undefined ? REDIS_URL : { ...REDIS_URL, natMap: REDIS_NAT_MAP };
}

function toJwtSettings(env: Environment): JwtSettings | null {
  if (env.JWT_SECRET === undefined && env.JWT_JWKS_URL === undefined) return null;
  return {
    ...(env.JWT_SECRET !== undefined && { secret: env.JWT_SECRET }),
    ...(env.JWT_JWKS_URL !== undefined && { jwksUrl: new URL(env.JWT_JWKS_URL) }),
    ...(env.JWT_ISSUER !== undefined && { issuer: env.JWT_ISSUER }),
    ...(env.JWT_AUDIENCE !== undefined && { audience: env.JWT_AUDIENCE }),
    actorClaim: env.JWT_ACTOR_CLAIM,
    clockToleranceS: env.JWT_CLOCK_TOLERANCE_S,
  };
}

/** An empty variable counts as unset, because compose files and shells make empty ones. */
function withoutEmpty(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
}
