import { randomBytes } from 'node:crypto';
import { createShardedAdapter } from '@socket.io/redis-adapter';
import type { Observable } from 'rxjs';
import type { ServerOptions } from 'socket.io';
import type { Clock } from '../../common/clock.js';
import { SubscriberCache } from './subscriber-cache.js';

/** All its channels begin so; those of rooms, of the one namespace, have this before and `#` behind the room's name. */
const CHANNEL_PREFIX = 'tc:io';
const ROOM_PREFIX = `${CHANNEL_PREFIX}#/#actor:`;
/** Messages on their way to Redis; beyond it they are lost, as they are while Redis is away. */
const PUBLISHING_MAX = 4_000;
/** Types of messages, as socket.io-adapter numbers them. */
const BROADCAST = 3;
const DISCONNECT_SOCKETS = 6;

/** In the words of Socket.IO's adapters, which pass over it: a heartbeat of the gateway between the two. */
const GREETING_START = '{"uid":"';
const GREETING_END = '","nsp":"/","type":2}';

/** Redis's sharded channels. */
export interface ShardedChannels {
  /** Those to which a subscription has been made just now, for the first time or again. */
  readonly subscribed: Observable<readonly string[]>;
  /** Kept up until `unsubscribe`, also when the connection is lost meanwhile. One handler a channel. Never throws. */
  subscribe(channel: string, handler: (message: Buffer, channel: Buffer) => void): void;
  unsubscribe(channel: string): void;
  /** Resolves with the number of subscribers that it reached; settles in any case. Rejects, without waiting for its return, while Redis is away. */
  publish(channel: string, message: string | Buffer): Promise<unknown>;
}

/** The type of Socket.IO's packets that carry an event. */
const EVENT = 2;

/** From another gateway, or from whoever publishes in Redis. */
interface Message {
  readonly type: number;
  readonly data: { readonly requestId?: string; readonly packet?: { readonly type?: number; readonly data?: unknown } };
}

/** The part of the adapter that takes messages. */
interface AdapterReceiver {
  onMessage(message: Message): void;
}

/**
 * Carries what is rare and concerns an actor's connections on all gateways: `mine`, `bye`, disconnecting.
 * A message is lost while Redis is away, and right after a connection was made; whatever of it matters, `subscribe` answers.
 */
export class BroadcastAdapter {
  readonly #client: ChannelsClient;

  constructor(channels: ShardedChannels, clock: Clock) {
    this.#client = new ChannelsClient(channels, clock);
  }

  /** Whether another gateway may have connections of the actor whose room it is. */
  hasRemoteSubscribers(room: string): boolean {
    return !this.#client.quiet.isQuiet(channelOf(room));
  }

  /** Socket.IO's adapter for it. */
  get adapter(): NonNullable<ServerOptions['adapter']> {
    const client = this.#client;
    const create = createShardedAdapter(client, client, { channelPrefix: CHANNEL_PREFIX, subscriptionMode: 'dynamic' });
    // socket.io calls it with `new`.
    return function (namespace: unknown) {
      const adapter = create(namespace);
      const receiver = adapter as unknown as Partial<AdapterReceiver>;
      const receive = receiver.onMessage?.bind(adapter);
      // A version of the adapter that receives otherwise answers whatever it is asked.
      if (receive === undefined) return adapter;
      // The rest asks for answers. That to `fetchSockets` would be all that there is about every socket.
      receiver.onMessage = (message) => {
        if (message.type === DISCONNECT_SOCKETS || isEvent(message)) receive(message);
      };
      return adapter;
    };
  }
}

/** Another packet would end the connection for its client alone, or say that it has one. */
function isEvent({ type, data: { packet, requestId } }: Message): boolean {
  if (type !== BROADCAST || requestId !== undefined || packet?.type !== EVENT) return false;
  return Array.isArray(packet.data) && typeof packet.data[0] === 'string';
}

/** In the shape of a client of the package `redis`, which the adapter knows by `sSubscribe`. Nothing of it ever fails. */
class ChannelsClient {
  readonly quiet: SubscriberCache;
  readonly #subscribed = new Set<string>();
  readonly #greeting = Buffer.from(GREETING_START + randomBytes(8).toString('hex') + GREETING_END);
  #publishing = 0;

  constructor(
    private readonly channels: ShardedChannels,
    clock: Clock,
  ) {
    const publish = (channel: string, message: string | Buffer): Promise<unknown> => channels.publish(channel, message);
    this.quiet = new SubscriberCache(clock, publish, (channel) => this.#subscribed.has(channel));
    channels.subscribed.subscribe((confirmed) => {
      for (const channel of confirmed) if (channel.startsWith(ROOM_PREFIX)) this.#greet(channel);
    });
  }

  sSubscribe(channel: string, handler: (message: Buffer, channel: Buffer) => void): void {
    this.#subscribed.add(channel);
    this.channels.subscribe(channel, (message, from) => {
      if (!this.#isGreeting(message)) handler(message, from);
      else if (!message.equals(this.#greeting)) this.quiet.invalidate(channel);
    });
  }

  sUnsubscribe(channel: string): void {
    this.#subscribed.delete(channel);
    this.channels.unsubscribe(channel);
    this.quiet.invalidate(channel);
  }

  /** Says and forgets: resolves at once, for Socket.IO waits for it before it emits on this gateway. */
  sPublish(channel: string, message: string | Buffer): Promise<void> {
    this.#send(channel, message);
    return Promise.resolve();
  }

  /** Others may have come or greeted while this gateway did not hear. */
  #greet(channel: string): void {
    this.quiet.invalidate(channel);
    this.#send(channel, this.#greeting);
  }

  #isGreeting(message: Buffer): boolean {
    return message.length === this.#greeting.length && message.toString().endsWith(GREETING_END);
  }

  #send(channel: string, message: string | Buffer): void {
    if (this.#publishing >= PUBLISHING_MAX) return;
    this.#publishing += 1;
    void this.quiet.send(channel, message).finally(() => (this.#publishing -= 1));
  }
}

/** As the adapter names it. */
function channelOf(room: string): string {
  return `${CHANNEL_PREFIX}#/#${room}#`;
}
