import { Subject } from 'rxjs';
import type { Clock, Timer } from '../../../common/clock.js';
import type { ServerConnection } from './server-connection.js';
import { hashSlot } from './hash-slot.js';

/** Channels a command: about a millisecond of the server's time. */
const CHANNELS_MAX = 500;
/** After which what did not work is tried again. */
const RETRY_MS = 1_000;
/** After a slot has moved, the connection's subscriptions are made again once, because it may be back already. */
const DOUBT_MS = 5_000;

export type MessageHandler = (message: Buffer, channel: Buffer) => void;

interface ChannelSubscription {
  readonly channel: string;
  readonly slot: number;
  readonly handler: MessageHandler;
  /** Where it was asked for; `null`: nowhere, or not any more. */
  at: ServerConnection | null;
}

export interface ChannelRouting {
  /** The connection that subscribes to channels of the slot; `null` while there is none. */
  subscriberFor(slot: number): ServerConnection | null;
  /** A server has said that the slot is elsewhere. */
  onRedirection(error: Error, from: ServerConnection): void;
  publish(channel: string, message: string | Buffer): Promise<unknown>;
}

/**
 * Sharded channels. Subscriptions are kept up through reconnects, failovers and moves of slots; what is published while one
 * is away is lost, and `subscribed` tells when to read what may have been missed.
 */
export class ShardedPubSub {
  readonly #subscriptions = new Map<string, ChannelSubscription>();
  readonly #pending = new Set<ChannelSubscription>();
  readonly #confirmed = new Subject<readonly string[]>();
  #scheduled = false;
  #retry: Timer | null = null;
  readonly #doubtful = new Set<ServerConnection>();
  #doubt: Timer | null = null;
  #closed = false;

  constructor(
    private readonly routing: ChannelRouting,
    /** Whether channels of one command must be of one slot. */
    private readonly cluster: boolean,
    private readonly clock: Clock,
  ) {}

  /**
   * Channels that a server has confirmed just now, for the first time or again: what is published from now on comes,
   * and what was published before may have been missed.
   */
  readonly subscribed = this.#confirmed.asObservable();

  /** From now on, once it is confirmed. One handler a channel: the last one counts. */
  subscribe(channel: string, handler: MessageHandler): void {
    this.unsubscribe(channel);
    const subscription = { channel, slot: hashSlot(channel), handler, at: null };
    this.#subscriptions.set(channel, subscription);
    this.#later(subscription);
  }

  unsubscribe(channel: string): void {
    const subscription = this.#subscriptions.get(channel);
    if (subscription === undefined) return;
    this.#subscriptions.delete(channel);
    this.#pending.delete(subscription);
    // A connection that is lost has lost its subscriptions, too.
    if (subscription.at !== null) subscription.at.sendCommand('sunsubscribe', [channel]).catch(() => undefined);
  }

  /** Rejects when the server is away, or does not answer in time. */
  publish(channel: string, message: string | Buffer): Promise<unknown> {
    return this.routing.publish(channel, message);
  }

  deliver(channel: Buffer, message: Buffer): void {
    try {
      this.#subscriptions.get(channel.toString())?.handler(message, channel);
    } catch {
      // None of ours: whoever may publish in Redis may publish anything, and it is not worth a gateway.
    }
  }

  /** The connection has lost its subscriptions, or may have. */
  connectionLost(connection: ServerConnection): void {
    for (const subscription of this.#subscriptions.values())
      if (subscription.at === connection) this.#later(subscription);
  }

  /** The server has ended subscriptions, for a slot went elsewhere. Which ones, ioredis does not say. */
  slotsMoved(connection: ServerConnection): void {
    this.#doubtful.add(connection);
    this.#doubt ??= this.clock.after(DOUBT_MS, () => {
      this.#doubt = null;
      for (const doubtful of this.#doubtful) this.connectionLost(doubtful);
      this.#doubtful.clear();
    });
  }

  /** Channels may have other servers than before. */
  reroute(): void {
    for (const subscription of this.#subscriptions.values()) {
      const { at, slot } = subscription;
      if (at !== null && at !== this.routing.subscriberFor(slot)) this.#later(subscription);
    }
    this.subscribePending();
  }

  /** Asks for what waits, where there is a connection for it. */
  subscribePending(): void {
    const groups = new Map<string, { connection: ServerConnection; subscriptions: ChannelSubscription[] }>();
    const numbers = new Map<ServerConnection, number>();
    for (const subscription of this.#pending) {
      const connection = this.routing.subscriberFor(subscription.slot);
      if (connection?.isUp !== true) continue;
      if (!numbers.has(connection)) numbers.set(connection, numbers.size);
      const key = `${numbers.get(connection)!}:${this.cluster ? subscription.slot : ''}`;
      let group = groups.get(key);
      if (group === undefined) groups.set(key, (group = { connection, subscriptions: [] }));
      group.subscriptions.push(subscription);
    }
    for (const { connection, subscriptions } of groups.values())
      for (let first = 0; first < subscriptions.length; first += CHANNELS_MAX)
        void this.#ask(connection, subscriptions.slice(first, first + CHANNELS_MAX));
  }

  close(): void {
    this.#closed = true;
    this.#retry?.cancel();
    this.#doubt?.cancel();
    this.#subscriptions.clear();
    this.#pending.clear();
    this.#confirmed.complete();
  }

  async #ask(connection: ServerConnection, subscriptions: readonly ChannelSubscription[]): Promise<void> {
    for (const subscription of subscriptions) {
      this.#pending.delete(subscription);
      subscription.at = connection;
    }
    const still = (): ChannelSubscription[] =>
      subscriptions.filter((one) => one.at === connection && this.#subscriptions.get(one.channel) === one);
    try {
      await connection.sendCommand(
        'ssubscribe',
        subscriptions.map(({ channel }) => channel),
      );
      const channels = still().map(({ channel }) => channel);
      if (channels.length > 0) this.#confirmed.next(channels);
    } catch (error) {
      for (const subscription of still()) this.#wait(subscription);
      if (error instanceof Error && error.message.startsWith('MOVED ')) this.routing.onRedirection(error, connection);
      this.#retryLater();
    }
  }

  #wait(subscription: ChannelSubscription): void {
    subscription.at = null;
    this.#pending.add(subscription);
  }

  /** With all others of the same turn. */
  #later(subscription: ChannelSubscription): void {
    this.#wait(subscription);
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    this.clock.soon(() => {
      this.#scheduled = false;
      if (!this.#closed) this.subscribePending();
    });
  }

  #retryLater(): void {
    if (this.#retry !== null || this.#closed) return;
    this.#retry = this.clock.after(RETRY_MS, () => {
      this.#retry = null;
      this.subscribePending();
      if (this.#pending.size > 0) this.#retryLater();
    });
  }
}
