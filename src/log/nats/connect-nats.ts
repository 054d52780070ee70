import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { NatsTarget } from '../../config/nats-url.js';

const CONNECT_MS = 10_000;
const RECONNECT_MS = 250;

/** A connection that is made again whenever it is lost. @throws Error, one line, if there is none at first */
export async function connectNats({ server, tls, login }: NatsTarget): Promise<NatsConnection> {
  return await connect({
    servers: server,
    ...(tls ? { tls: {} } : {}),
    ...(login === null
      ? {}
      : login.password === ''
        ? { token: login.user }
        : { user: login.user, pass: login.password }),
    name: 'tallycast-log',
    timeout: CONNECT_MS,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_MS,
    ignoreClusterUpdates: true,
    noAsyncTraces: true,
  });
}
