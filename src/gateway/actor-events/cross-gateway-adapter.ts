import { randomBytes } from 'node:crypto';
import { createShardedAdapter } from '@socket.io/redis-adapter';
import type { Observable } from 'rxjs';
import type { ServerOptions } from 'socket.io';
import type { Clock } from '../../common/clock.js';
import type { ActorStreams } from '../../fanout/actor-streams.js';
import type { ByeEvent, MineEvent } from '../../protocol/messages.js';
import { RemoteSubscribers } from './remote-subscribers.js';

/** Prefix of all channels. The channel of a room puts it, with the only namespace, before the room's name, and `#` behind it. */
const CHANNEL_PREFIX = 'tc:io';
const ROOM_PREFIX = `${CHANNEL_PREFIX}#/#actor:`;
/** Messages on their way to Redis. More are lost, as they are while Redis is down. */
const PUBLISHING_MAX = 4_000;
/** Types of messages, as socket.io-adapter numbers them. */
const BROADCAST = 3;
const DISCONNECT_SOCKETS = 6;

/** A hello has the form of a heartbeat of Socket.IO's adapters, which ignore it. The gateway's id stands between the two. */
const HELLO_START = '{"uid":"';
const HELLO_END = '","nsp":"/","type":2}';

/** Redis's sharded channels. */
export interface ShardedChannels {
  /** Emits channels that this gateway has just subscribed to, for the first time or again. */
  readonly subscribed: Observable<readonly string[]>;
  /** The subscription lasts until `unsubscribe`, also when its connection is lost. One handler a channel. Never throws. */
  subscribe(channel: string, handler: (message: Buffer, channel: Buffer) => void): void;
  unsubscribe(channel: string): void;
  /** Resolves with the number of subscribers that the message reached. Rejects at once while Redis is down; settles in any case. */
  publish(channel: string, message: string | Buffer): Promise<unknown>;
}

const DISCONNECTED: ByeEvent = { reason: 'the connections of this actor were closed', retryAfterMs: 0 };

/** The type of Socket.IO's packets that carry an event. */
const EVENT = 2;

/** A message from a gateway, also from this one, or from any program that may publish in Redis. */
interface Message {
  readonly type: number;
  readonly uid?: string;
  readonly data: {
    readonly requestId?: string;
    readonly packet?: { readonly type?: number; readonly data?: unknown };
    readonly opts?: { readonly rooms?: unknown };
  };
}

/** The part of the adapter that receives messages. */
interface AdapterReceiver {
  readonly uid: string;
  onMessage(message: Message): void;
}

/**
 * Carries rare events for an actor's connections on all gateways: `mine`, `bye`, disconnecting. A message is lost while
 * Redis is down, and right after a connection was made; the response to `subscribe` has the state that such an event was about.
 */
export class CrossGatewayAdapter {
  readonly #client: ChannelsClient;

  constructor(
    channels: ShardedChannels,
    clock: Clock,
    private readonly streams: ActorStreams,
  ) {
    this.#client = new ChannelsClient(channels, clock);
  }

  /** Socket.IO's adapter, which also knows whether a room has subscribers on other gateways. */
  get adapter(): NonNullable<ServerOptions['adapter']> {
    const client = this.#client;
    const { streams } = this;
    const create = createShardedAdapter(client, client, { channelPrefix: CHANNEL_PREFIX, subscriptionMode: 'dynamic' });
    const hasRemoteSubscribers = (room: string): boolean => client.cache.hasRemoteSubscribers(toChannel(room));
    // socket.io calls it with `new`.
    return function (namespace: unknown) {
      const adapter = Object.assign(create(namespace), { hasRemoteSubscribers });
      const receiver = adapter as unknown as Partial<AdapterReceiver>;
      const receive = receiver.onMessage?.bind(adapter);
      // A version of the adapter that receives in another way responds to all requests.
      if (receive === undefined) return adapter;
      // Other types request a response. The one to `fetchSockets` would contain all data of every socket.
      receiver.onMessage = (message) => {
        if (message.type !== DISCONNECT_SOCKETS && !isEvent(message)) return;
        if (message.uid !== receiver.uid) passToStreams(message, streams);
        receive(message);
      };
      return adapter;
    };
  }
}

/** A packet of another type would end the connection for its client alone, or claim that the client has connected. */
function isEvent({ type, data: { packet, requestId } }: Message): boolean {
  if (type !== BROADCAST || requestId !== undefined || packet?.type !== EVENT) return false;
  return Array.isArray(packet.data) && typeof packet.data[0] === 'string';
}

/** Sockets get the message from Socket.IO. Streams end where it disconnects sockets. */
function passToStreams({ type, data: { packet, opts } }: Message, streams: ActorStreams): void {
  if (!Array.isArray(opts?.rooms)) return;
  const [name, payload] = (type === DISCONNECT_SOCKETS ? ['bye', DISCONNECTED] : packet!.data) as [string, unknown];
  for (const room of opts.rooms as unknown[]) {
    if (typeof room !== 'string') continue;
    if (name === 'mine' && isMine(payload)) streams.sendMine(room, payload);
    else if (name === 'bye' && isBye(payload)) streams.sendBye(room, payload);
  }
}

function isMine(payload: unknown): payload is MineEvent {
  const { post, metric } = (payload ?? {}) as Partial<Record<keyof MineEvent, unknown>>;
  return typeof post === 'string' && typeof metric === 'string';
}

function isBye(payload: unknown): payload is ByeEvent {
  const { reason, retryAfterMs } = (payload ?? {}) as Partial<Record<keyof ByeEvent, unknown>>;
  return typeof reason === 'string' && Number.isSafeInteger(retryAfterMs);
}

/** Has the shape of a client of the package `redis`, which the adapter recognises by `sSubscribe`. None of its methods ever fails. */
class ChannelsClient {
  readonly cache: RemoteSubscribers;
  readonly #subscribed = new Set<string>();
  readonly #hello = Buffer.from(HELLO_START + randomBytes(8).toString('hex') + HELLO_END);
  #publishing = 0;

  constructor(
    private readonly channels: ShardedChannels,
    clock: Clock,
  ) {
    const publish = (channel: string, message: string | Buffer): Promise<unknown> => channels.publish(channel, message);
    this.cache = new RemoteSubscribers(clock, publish, (channel) => this.#subscribed.has(channel));
    channels.subscribed.subscribe((subscribed) => {
      for (const channel of subscribed) if (channel.startsWith(ROOM_PREFIX)) this.#sendHello(channel);
    });
  }

  sSubscribe(channel: string, handler: (message: Buffer, channel: Buffer) => void): void {
    this.#subscribed.add(channel);
    this.channels.subscribe(channel, (message, from) => {
      if (!this.#isHello(message)) handler(message, from);
      else if (!message.equals(this.#hello)) this.cache.invalidate(channel);
    });
  }

  sUnsubscribe(channel: string): void {
    this.#subscribed.delete(channel);
    this.channels.unsubscribe(channel);
    this.cache.invalidate(channel);
  }

  /** Resolves at once, because Socket.IO waits for it before it emits on this gateway. */
  sPublish(channel: string, message: string | Buffer): Promise<void> {
    this.#send(channel, message);
    return Promise.resolve();
  }

  /** Other gateways may have subscribed, and sent their hellos, while this one did not receive them. */
  #sendHello(channel: string): void {
    this.cache.invalidate(channel);
    this.#send(channel, this.#hello);
  }

  #isHello(message: Buffer): boolean {
    return message.length === this.#hello.length && message.toString().endsWith(HELLO_END);
  }

  #send(channel: string, message: string | Buffer): void {
    if (this.#publishing >= PUBLISHING_MAX) return;
    this.#publishing += 1;
    void this.cache.send(channel, message).finally(() => (this.#publishing -= 1));
  }
}

/** The channel that the adapter uses for the room. */
function toChannel(room: string): string {
  return `${CHANNEL_PREFIX}#/#${room}#`;
}
