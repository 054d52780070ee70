import { Redis } from 'ioredis';
import type { AdapterClients } from '../../src/gateway/cluster-adapter.js';
import { closedWithRedis, type RedisServer } from './redis-server.js';

const RETRY_MS = 50;
const COMMAND_TIMEOUT_MS = 500;

/** Clients for socket.io's adapter; `stopRedis` closes them. */
export function adapterClients({ host, port }: RedisServer): AdapterClients {
  const options = {
    host,
    port,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    retryStrategy: () => RETRY_MS,
  };
  return {
    pub: closedWithRedis(new Redis({ ...options, commandTimeout: COMMAND_TIMEOUT_MS })),
    sub: closedWithRedis(new Redis({ ...options, autoResubscribe: false })),
  };
}
