import { Redis, type RedisOptions } from 'ioredis';
import { Backoff } from '../../../common/backoff.js';
import { GuardedSentinelConnector, SocketConnector } from './socket-connector.js';
import type { Address, RedisTarget } from '../../../config/redis-url.js';

/** To connect, TLS included, and for an answer of a sentinel: as long as a command may take. */
const CONNECT_MS = 1_500;
/** From FIN to the socket's end when the other side does not answer. */
const DISCONNECT_MS = 50;
/** A peer that vanished without a word is found by probes; this keeps the ways through firewalls open. */
const KEEP_ALIVE_MS = 30_000;
/** Pauses between two attempts to connect; there is no last attempt. */
const RETRY = new Backoff(50, 1_000, Math.random);
/** A server that loads its data is asked again after this. */
const LOADING_MS = 500;

/** What a connection is for; its name in CLIENT LIST. */
export type Purpose = 'writes' | 'queries' | 'subscriptions' | 'topology' | 'failovers';

/**
 * An ioredis client that is nothing but one socket that comes back: it never sends anything twice, and never keeps
 * anything for later. It starts when `connect` is called.
 */
export function createServerClient(target: RedisTarget, purpose: Purpose, address: Address): Redis {
  const { tls, login } = target;
  return new Redis({
    ...connection(purpose),
    ...(target.kind === 'sentinel' ? throughSentinels(target) : { host: address.host, port: address.port }),
    ...(login === null ? {} : { password: login.password }),
    ...(login?.username == null ? {} : { username: login.username }),
    // Which server it will be, sentinels know: SNI is left out, the certificate is checked for its address.
    ...(tls ? { tls: target.kind === 'sentinel' ? {} : tlsOptions(address) } : {}),
    db: target.database,
  });
}

/** A client of one sentinel, to hear of failovers. */
export function createSentinelClient(target: RedisTarget, address: Address): Redis {
  const { tls, sentinelLogin: login } = target;
  return new Redis({
    ...connection('failovers'),
    host: address.host,
    port: address.port,
    ...(login === null ? {} : { password: login.password }),
    ...(login?.username == null ? {} : { username: login.username }),
    ...(tls ? { tls: tlsOptions(address) } : {}),
    // A sentinel's INFO says nothing of being ready.
    enableReadyCheck: false,
  });
}

function connection(purpose: Purpose) {
  return {
    Connector: SocketConnector,
    lazyConnect: true,
    // A batch whose answer was lost is sent again by the caller, in its order and fenced; ioredis would resend
    // it by itself, and keep it for a server that may not be the same.
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    // Rejects what was in flight when the connection closes, at once, instead of leaving it unsettled.
    maxRetriesPerRequest: 0,
    // ioredis leaves the promises of its own resubscriptions alone, and a rejected one ends the process: see sharded-pubsub.ts.
    autoResubscribe: false,
    // A primary that became a replica: leave it and ask again who is primary. 1: without sending the command again.
    reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? 1 : false),
    retryStrategy: (failures: number) => RETRY.pauseMs(failures),
    // Waits while the server loads its data, and in sentinel mode refuses a server that is not the primary.
    enableReadyCheck: true,
    maxLoadingRetryTime: LOADING_MS,
    connectTimeout: CONNECT_MS,
    disconnectTimeout: DISCONNECT_MS,
    keepAlive: KEEP_ALIVE_MS,
    noDelay: true,
    connectionName: `tallycast:${purpose}`,
    // One round trip less, and two commands less to be permitted.
    disableClientInfo: true,
    // Under RESP3 messages and answers are told apart by their type, and a subscriber may be pinged.
    protocol: 3,
  } satisfies RedisOptions;
}

function throughSentinels(target: RedisTarget) {
  const { addresses, sentinelLogin: login, tls } = target;
  return {
    Connector: GuardedSentinelConnector,
    sentinels: [...addresses],
    name: target.master,
    role: 'master',
    sentinelRetryStrategy: (failures: number) => RETRY.pauseMs(failures),
    // A sentinel that hangs: the next one is asked.
    sentinelCommandTimeout: CONNECT_MS,
    // ioredis's own would hold connections to each sentinel for each client, and print what goes wrong: see
    // sentinel-watch.ts.
    failoverDetector: false,
    ...(login === null ? {} : { sentinelPassword: login.password }),
    ...(login?.username == null ? {} : { sentinelUsername: login.username }),
    ...(tls ? { sentinelTLS: {}, enableTLSForSentinelMode: true } : {}),
  } satisfies RedisOptions;
}

/** System CAs, and those of NODE_EXTRA_CA_CERTS, are what Node trusts by itself. */
function tlsOptions(address: Address): { servername?: string } {
  // SNI is for names; certificates of addresses are checked without it.
  return /^[\d.]+$|:/.test(address.host) ? {} : { servername: address.host };
}
