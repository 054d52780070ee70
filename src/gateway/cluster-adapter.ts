import { createShardedAdapter } from '@socket.io/redis-adapter';
import type { ServerOptions } from 'socket.io';
import type { Clock } from '../clock.js';
import { QuietChannels } from './quiet-channels.js';

/** All its channels begin so. */
const CHANNEL_PREFIX = 'tc:io';
/** Messages on their way to Redis; beyond it they are lost, as they are while Redis is away. */
const PUBLISHING_MAX = 4_000;
/** Types of messages, as socket.io-adapter numbers them. */
const BROADCAST = 3;
const DISCONNECT_SOCKETS = 6;

/** Redis's sharded channels. */
export interface ShardedChannels {
  /** Kept up until `unsubscribe`, also when the connection is lost meanwhile. One handler a channel. Never throws. */
  subscribe(channel: string, handler: (message: Buffer, channel: Buffer) => void): void;
  unsubscribe(channel: string): void;
  /** Resolves with the number of subscribers that it reached; settles in any case. Rejects, without waiting for its return, while Redis is away. */
  publish(channel: string, message: string | Buffer): Promise<unknown>;
}

/** What the adapter does with what comes from another gateway. */
interface Receiver {
  onMessage(message: { readonly type: number; readonly data: { readonly requestId?: string } }): void;
}

/**
 * Socket.IO's adapter for what is rare and concerns an actor's connections on all gateways: `mine`, `bye`, disconnecting.
 * A message is lost while Redis is away, and right after a connection was made; whatever of it matters, `subscribe` answers.
 */
export function clusterAdapter(channels: ShardedChannels, clock: Clock): NonNullable<ServerOptions['adapter']> {
  const client = new ChannelsClient(channels, clock);
  const create = createShardedAdapter(client, client, { channelPrefix: CHANNEL_PREFIX, subscriptionMode: 'dynamic' });
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

/** In the shape of a client of the package `redis`, which the adapter knows by `sSubscribe`. Nothing of it ever fails. */
class ChannelsClient {
  readonly #subscribed = new Set<string>();
  readonly #quiet: QuietChannels;
  #publishing = 0;

  constructor(
    private readonly channels: ShardedChannels,
    clock: Clock,
  ) {
    const own = (channel: string): number => (this.#subscribed.has(channel) ? 1 : 0);
    this.#quiet = new QuietChannels(clock, (channel, message) => channels.publish(channel, message), own);
  }

  sSubscribe(channel: string, handler: (message: Buffer, channel: Buffer) => void): void {
    this.#subscribed.add(channel);
    this.channels.subscribe(channel, handler);
  }

  sUnsubscribe(channel: string): void {
    this.#subscribed.delete(channel);
    this.channels.unsubscribe(channel);
  }

  /** Says and forgets: resolves at once, for Socket.IO waits for it before it emits on this gateway. */
  sPublish(channel: string, message: string | Buffer): Promise<void> {
    if (this.#publishing < PUBLISHING_MAX) {
      this.#publishing += 1;
      void this.#quiet.send(channel, message).finally(() => (this.#publishing -= 1));
    }
    return Promise.resolve();
  }
}
