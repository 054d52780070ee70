import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { AbstractConnector, type Redis, type RedisOptions, SentinelConnector } from 'ioredis';

/**
 * How ioredis opens its sockets. Its own connectors listen for one error of a socket, but a rejected certificate causes two, and
 * an error without a listener ends the process. https://nodejs.org/api/events.html#error-events
 */

/** Connects directly to a server or a sentinel. */
export class SocketConnector extends AbstractConnector {
  readonly #options: RedisOptions;

  constructor(options: unknown) {
    super((options as RedisOptions).disconnectTimeout!);
    this.#options = options as RedisOptions;
  }

  override connect(): Promise<Socket> {
    const { host, port, tls } = this.#options;
    const at = { host: host!, port: port! };
    this.connecting = true;
    const stream: Socket = ignoreLaterErrors(tls ? connectTls({ ...tls, ...at }) : connectTcp(at));
    this.stream = stream;
    stream.once('error', (error) => (this.firstError = error));
    return Promise.resolve(stream);
  }
}

/** Connects to the primary that the sentinels name. */
export class GuardedSentinelConnector extends SentinelConnector {
  constructor(options: unknown) {
    super(options as ConstructorParameters<typeof SentinelConnector>[0]);
    const self = this as unknown as { connectToSentinel?: (endpoint: unknown, options: RedisOptions) => Redis };
    const connectToSentinel = self.connectToSentinel?.bind(this);
    // A version of ioredis without this method uses its own connector.
    if (connectToSentinel === undefined) return;
    self.connectToSentinel = (endpoint, more) => connectToSentinel(endpoint, { ...more, Connector: SocketConnector });
  }

  override async connect(...args: Parameters<SentinelConnector['connect']>): Promise<Socket> {
    return ignoreLaterErrors(await super.connect(...args));
  }
}

function ignoreLaterErrors<T extends Socket>(socket: T): T {
  return socket.on('error', () => undefined);
}
