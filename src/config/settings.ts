import { resolve } from 'node:path';
import type { ActorKeys } from '../counters/ids.js';
import type { Metrics } from '../counters/metrics.js';
import { UNNAMED_REGION } from '../counters/pn-counter.js';
import { type Environment, ENVIRONMENT } from './environment-schema.js';
import { checkRegionNames, type PeerAddress } from './peer-urls.js';
import type { RedisTarget } from './redis-url.js';

/** The settings of the environment, checked once, at boot. Names and defaults: README.md, "Settings". */
export interface Settings {
  readonly host: string;
  readonly port: number;
  /** Where what is for operators is served, and nothing else; `null`: on `port`. */
  readonly opsPort: number | null;
  /** How long a connection is kept for its next HTTP request; longer than balancers keep it. */
  readonly keepAliveMs: number;
  /** Where the embedded store keeps its data. */
  readonly dataDir: string;
  /** The Redis that gateways share; `null`: the embedded store is used. */
  readonly redis: RedisTarget | null;
  /** When an operation is acknowledged: once the store has committed it, or once Redis's replicas have it, too. */
  readonly ack: 'committed' | 'replicated';
  /** Gateways on this port. */
  readonly workers: number;
  readonly tickMs: number;
  readonly flushMs: number;
  readonly buckets: number;
  /** How the name of an actor becomes its key. */
  readonly actorKeys: ActorKeys;
  readonly metrics: Metrics;
  /** Exact origins of other pages, or `*` for any. */
  readonly allowedOrigins: readonly string[];
  /** Exact origins under which browsers reach this gateway; empty: by its address or `localhost` alone. */
  readonly publicUrl: readonly string[];
  /** Verifies tokens; `null`: there are none, and actors are whom they say they are. */
  readonly jwt: JwtSettings | null;
  /** Whether watching, too, needs a token. */
  readonly requireTokenToRead: boolean;
  /** A second, with a burst of as many; 0: no limit. */
  readonly maxOpsPerConnection: number;
  readonly maxOpsPerAddress: number;
  readonly maxConnectionsPerAddress: number;
  readonly maxPostsPerConnection: number;
  /** A minute, with a burst of as many; 0: no limit. */
  readonly maxNewPostsPerAddress: number;
  readonly maxNewActorsPerAddress: number;
  /** Ids of posts must be signed with it; `null`: they need not be signed. */
  readonly postSecret: string | null;
  /** Addresses or networks of balancers whose `X-Forwarded-For` is believed. */
  readonly trustProxy: readonly string[];
  /** The name under which this gateway counts. */
  readonly region: string;
  /** The other regions. */
  readonly peers: readonly PeerAddress[];
  /** The secret by which regions know each other; `''` without peers. */
  readonly peerToken: string;
  /** How often changes go to each peer, at most. */
  readonly replicationIntervalMs: number;
  readonly logLevel: string;
}

export interface JwtSettings {
  readonly secret?: string;
  readonly jwksUrl?: URL;
  readonly issuer?: string;
  readonly audience?: string;
}

/** @throws Error with one line that names the variable and says what would be right. */
export function readSettings(environment: NodeJS.ProcessEnv): Settings {
  const parsed = ENVIRONMENT.safeParse(withoutEmpty(environment));
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw new Error(`${String(path[0])} ${message}`);
  }
  const env = parsed.data;
  if (env.JWT_SECRET !== undefined && env.JWT_JWKS_URL !== undefined) {
    throw new Error('JWT_SECRET and JWT_JWKS_URL exclude each other: set the one that your tokens are signed with');
  }
  if (env.REDIS_URL === undefined && env.ACK === 'replicated') {
    throw new Error('ACK=replicated needs REDIS_URL: the embedded store has no replicas');
  }
  if (env.REDIS_URL === undefined && env.WORKERS > 1) {
    throw new Error('WORKERS above 1 needs REDIS_URL: the embedded store is for one process');
  }
  if (env.OPS_PORT !== undefined && env.OPS_PORT !== 0 && env.OPS_PORT === env.PORT) {
    throw new Error('OPS_PORT must be another port than PORT, so that it can be closed by itself');
  }
  checkPeers(env);
  const jwt = jwtOf(env);
  if (jwt === null && (env.JWT_ISSUER !== undefined || env.JWT_AUDIENCE !== undefined || env.PRIVATE === 'true')) {
    throw new Error('JWT_ISSUER, JWT_AUDIENCE and PRIVATE need JWT_SECRET or JWT_JWKS_URL, which verify tokens');
  }
  return {
    host: env.HOST,
    port: env.PORT,
    opsPort: env.OPS_PORT ?? null,
    keepAliveMs: env.KEEP_ALIVE_MS,
    dataDir: resolve(env.DATA_DIR),
    redis: redisOf(env),
    ack: env.ACK,
    workers: env.WORKERS,
    tickMs: env.TICK_MS,
    flushMs: env.FLUSH_MS,
    buckets: env.BUCKETS,
    actorKeys: env.ACTOR_KEYS,
    metrics: env.METRICS,
    allowedOrigins: env.ALLOWED_ORIGINS,
    publicUrl: env.PUBLIC_URL,
    jwt,
    requireTokenToRead: env.PRIVATE === 'true',
    maxOpsPerConnection: env.MAX_OPS_PER_CONNECTION,
    maxOpsPerAddress: env.MAX_OPS_PER_ADDRESS,
    maxConnectionsPerAddress: env.MAX_CONNECTIONS_PER_ADDRESS,
    maxPostsPerConnection: env.MAX_POSTS_PER_CONNECTION,
    maxNewPostsPerAddress: env.MAX_NEW_POSTS_PER_ADDRESS,
    maxNewActorsPerAddress: env.MAX_NEW_ACTORS_PER_ADDRESS,
    postSecret: env.POST_SECRET ?? null,
    trustProxy: env.TRUST_PROXY,
    region: env.REGION,
    peers: env.PEERS,
    peerToken: env.PEER_TOKEN ?? '',
    replicationIntervalMs: env.SHIP_MS,
    logLevel: env.LOG_LEVEL,
  };
}

function checkPeers({ REGION, PEERS, PEER_TOKEN }: Environment): void {
  if (PEERS.length === 0) {
    if (PEER_TOKEN !== undefined)
      throw new Error('PEER_TOKEN is of no use without PEERS, which names the other regions');
    return;
  }
  if (REGION === UNNAMED_REGION)
    throw new Error('PEERS needs REGION, the name that the others have this gateway under in theirs');
  if (PEER_TOKEN === undefined) throw new Error('PEERS needs PEER_TOKEN, a secret that is the same in all regions');
  try {
    checkRegionNames(REGION, PEERS);
  } catch (error) {
    throw new Error(`PEERS ${(error as Error).message}`, { cause: error });
  }
}

function redisOf({ REDIS_URL, REDIS_NAT_MAP }: Environment): RedisTarget | null {
  if (REDIS_NAT_MAP === undefined) return REDIS_URL ?? null;
  if (REDIS_URL?.kind !== 'cluster') {
    throw new Error('REDIS_NAT_MAP needs REDIS_URL=redis+cluster://…: only a cluster announces addresses');
  }
  return { ...REDIS_URL, natMap: REDIS_NAT_MAP };
}

function jwtOf(env: Environment): JwtSettings | null {
  if (env.JWT_SECRET === undefined && env.JWT_JWKS_URL === undefined) return null;
  return {
    ...(env.JWT_SECRET !== undefined && { secret: env.JWT_SECRET }),
    ...(env.JWT_JWKS_URL !== undefined && { jwksUrl: new URL(env.JWT_JWKS_URL) }),
    ...(env.JWT_ISSUER !== undefined && { issuer: env.JWT_ISSUER }),
    ...(env.JWT_AUDIENCE !== undefined && { audience: env.JWT_AUDIENCE }),
  };
}

/** An empty variable means the same as none: compose files and shells make them. */
function withoutEmpty(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
}
