import { Redis, type RedisOptions } from 'ioredis';
import { Backoff } from '../../../common/backoff.js';
import { GuardedSentinelConnector, SocketConnector } from './socket-connector.js';
import type { Address, RedisTarget } from '../../../config/redis-url.js';

/** Longest time to connect, TLS included, and for the reply of a sentinel: as long as a command may take. */
const CONNECT_MS = 1_500;
/** From FIN to the end of a socket whose server does not answer it. */
const DISCONNECT_MS = 50;
/** Keeps connections open in firewalls. Servers that vanish are detected by probes. */
const KEEP_ALIVE_MS = 30_000;
/** Pauses between two attempts to connect; there is no last attempt. */
const RETRY = new Backoff(50, 1_000, Math.random);
/** Between two checks of a server that still loads its data. */
const LOADING_MS = 500;

/** The use of a connection, which is part of its name in CLIENT LIST. */
export type Purpose = 'writes' | 'queries' | 'subscriptions' | 'topology' | 'failovers';

/**
 * An ioredis client that only keeps one socket connected: it sends nothing twice and queues nothing while it is down. It
 * starts when `connect` is called.
 */
export function createServerClient(target: RedisTarget, purpose: Purpose, address: Address): Redis {
  const { tls, login } = target;
  return new Redis({
    ...commonOptions(purpose),
    ...(target.kind === 'sentinel' ? sentinelOptions(target) : { host: address.host, port: address.port }),
    ...(login === null ? {} : { password: login.password }),
    ...(login?.username == null ? {} : { username: login.username }),
    // Sentinels name the server later: SNI is left out, and the certificate is checked for the server's address.
    ...(tls ? { tls: target.kind === 'sentinel' ? {} : tlsOptions(address) } : {}),
    db: target.database,
  });
}

/** A client of one sentinel, for its messages about failovers. */
export function createSentinelClient(target: RedisTarget, address: Address): Redis {
  const { tls, sentinelLogin: login } = target;
  return new Redis({
    ...commonOptions('failovers'),
    host: address.host,
    port: address.port,
    ...(login === null ? {} : { password: login.password }),
    ...(login?.username == null ? {} : { username: login.username }),
    ...(tls ? { tls: tlsOptions(address) } : {}),
    // The INFO of a sentinel does not report readiness.
    enableReadyCheck: false,
  });
}

function commonOptions(purpose: Purpose) {
  return {
    Connector: SocketConnector,
    lazyConnect: true,
    // The caller resends a batch whose reply was lost, in its order and with its number; ioredis would resend it by
    // itself, perhaps to another server.
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    // Rejects what was in flight when the connection closes, at once, instead of leaving it unsettled.
    maxRetriesPerRequest: 0,
    // ioredis does not handle rejections of its own resubscriptions, and those end the process: see sharded-pubsub.ts.
    autoResubscribe: false,
    // A primary that became a replica: leave it and find the new primary. 1: without resending the command.
    reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? 1 : false),
    retryStrategy: (failures: number) => RETRY.pauseMs(failures),
    // Waits while the server loads its data, and in sentinel mode leaves a server that is not the primary.
    enableReadyCheck: true,
    maxLoadingRetryTime: LOADING_MS,
    connectTimeout: CONNECT_MS,
    disconnectTimeout: DISCONNECT_MS,
    keepAlive: KEEP_ALIVE_MS,
    noDelay: true,
    connectionName: `tallycast:${purpose}`,
    // Saves a round trip, and the rights for two commands.
    disableClientInfo: true,
    // In RESP3 messages and replies have different types, so that a subscriber can be pinged.
    protocol: 3,
  } satisfies RedisOptions;
}

function sentinelOptions(target: RedisTarget) {
  const { addresses, sentinelLogin: login, tls } = target;
  return {
    Connector: GuardedSentinelConnector,
    sentinels: [...addresses],
    name: target.master,
    role: 'master',
    sentinelRetryStrategy: (failures: number) => RETRY.pauseMs(failures),
    // Then the next sentinel is tried.
    sentinelCommandTimeout: CONNECT_MS,
    // The one of ioredis would keep connections to each sentinel for each client, and print its errors: see
    // sentinel-watch.ts.
    failoverDetector: false,
    ...(login === null ? {} : { sentinelPassword: login.password }),
    ...(login?.username == null ? {} : { sentinelUsername: login.username }),
    ...(tls ? { sentinelTLS: {}, enableTLSForSentinelMode: true } : {}),
  } satisfies RedisOptions;
}

/** Node trusts the system's CAs and those of NODE_EXTRA_CA_CERTS by itself. */
function tlsOptions(address: Address): { servername?: string } {
  // SNI takes only names; certificates for addresses are checked without it.
  return /^[\d.]+$|:/.test(address.host) ? {} : { servername: address.host };
}
