import { createShardedAdapter } from '@socket.io/redis-adapter';
import type { ServerOptions } from 'socket.io';
import type { Clock } from '../clock.js';

/** All its channels begin so. */
const CHANNEL_PREFIX = 'tc:io';
/** Messages on their way to Redis; beyond it they are lost, as they are while Redis is away. */
const PUBLISHING_MAX = 1_000;
/** After which a subscription that failed is tried again. */
const SUBSCRIBE_AGAIN_MS = 1_000;
/** Types of messages, as socket.io-adapter numbers them. */
const BROADCAST = 3;
const DISCONNECT_SOCKETS = 6;

/** A client of Redis or of a Redis Cluster, as ioredis has them. */
interface PublishingClient {
  /** Settles in any case, after a time without an answer too (`commandTimeout`). */
  spublish(channel: string, message: string | Buffer): Promise<unknown>;
}

/** One of its own. On a Redis Cluster made with `shardedSubscribers: true`, else with `autoResubscribe: false`. */
interface SubscribingClient {
  readonly status: string;
  ssubscribe(channel: string): Promise<unknown>;
  sunsubscribe(channel: string): Promise<unknown>;
  on(event: 'ready', listener: () => void): unknown;
  on(event: 'smessageBuffer', listener: (channel: Buffer, message: Buffer) => void): unknown;
}

export interface AdapterClients {
  readonly pub: PublishingClient;
  readonly sub: SubscribingClient;
}

/** What the adapter does with what comes from another gateway. */
interface Receiver {
  onMessage(message: { readonly type: number; readonly data: { readonly requestId?: string } }): void;
}

/**
 * Socket.IO's adapter for what is rare and concerns an actor's connections on all gateways: `mine`, `bye`, disconnecting.
 * A message is lost while Redis is away, and right after a connection was made; whatever of it matters, `subscribe` answers.
 */
export function clusterAdapter({ pub, sub }: AdapterClients, clock: Clock): NonNullable<ServerOptions['adapter']> {
  const create = createShardedAdapter(new Publisher(pub), new Subscriber(sub, clock), {
    channelPrefix: CHANNEL_PREFIX,
    subscriptionMode: 'dynamic',
  });
  // socket.io calls it with `new`.
  return function (namespace: unknown) {
    const adapter = create(namespace);
    const receiver = adapter as unknown as Receiver;
    const receive = receiver.onMessage.bind(adapter);
    // The rest asks for answers. That to `fetchSockets` would be all that there is about every socket.
    receiver.onMessage = (message) => {
      const { type, data } = message;
      if (type === DISCONNECT_SOCKETS || (type === BROADCAST && data.requestId === undefined)) receive(message);
    };
    return adapter;
  };
}

/** Says and forgets. Never fails, and resolves at once: Socket.IO waits for it before it emits on this gateway. */
class Publisher {
  #publishing = 0;

  constructor(private readonly client: PublishingClient) {}

  spublish(channel: string, message: string | Buffer): Promise<void> {
    if (this.#publishing < PUBLISHING_MAX) {
      this.#publishing += 1;
      const settled = (): void => void (this.#publishing -= 1);
      this.client.spublish(channel, message).then(settled, settled);
    }
    return Promise.resolve();
  }
}

/** Subscribes to what is wanted, until it has it: the adapter asks once, and does not look whether it got it. */
class Subscriber {
  readonly #wanted = new Set<string>();
  /** Channels whose last command failed. */
  readonly #failed = new Set<string>();
  #waiting = false;

  constructor(
    private readonly client: SubscribingClient,
    private readonly clock: Clock,
  ) {
    client.on('ready', () => {
      for (const channel of new Set([...this.#wanted, ...this.#failed])) this.#bring(channel);
    });
  }

  on(event: 'smessageBuffer', listener: (channel: Buffer, message: Buffer) => void): void {
    this.client.on(event, listener);
  }

  ssubscribe(channel: string): void {
    this.#wanted.add(channel);
    this.#bring(channel);
  }

  sunsubscribe(channel: string): void {
    this.#wanted.delete(channel);
    this.#bring(channel);
  }

  #bring(channel: string): void {
    const brought = this.#wanted.has(channel) ? this.client.ssubscribe(channel) : this.client.sunsubscribe(channel);
    brought.then(
      () => this.#failed.delete(channel),
      () => {
        this.#failed.add(channel);
        this.#tryAgain();
      },
    );
  }

  #tryAgain(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    this.clock.after(SUBSCRIBE_AGAIN_MS, () => {
      this.#waiting = false;
      // Else all is brought when it is ready.
      if (this.client.status === 'ready') for (const channel of this.#failed) this.#bring(channel);
    });
  }
}
