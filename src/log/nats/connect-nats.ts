import { connect, type NatsConnection } from '@nats-io/transport-node';
import { type NatsTarget, toConnectionOptions } from '../../config/nats-url.js';

const CONNECT_MS = 10_000;
const RECONNECT_MS = 250;

/** A connection that is made again whenever it is lost. @throws Error, one line, if there is none at first */
export async function connectNats(target: NatsTarget): Promise<NatsConnection> {
  return await connect({
    ...toConnectionOptions(target),
    name: 'tallycast-log',
    timeout: CONNECT_MS,
    maxReconnectAttempts: -1,
    // Its default ends the connection for good, and a user may be allowed again.
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: RECONNECT_MS,
    ignoreClusterUpdates: true,
    noAsyncTraces: true,
  });
}
