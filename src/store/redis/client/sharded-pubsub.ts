import { Subject } from 'rxjs';
import type { Clock, Timer } from '../../../common/clock.js';
import type { ServerConnection } from './server-connection.js';
import { hashSlot } from './hash-slot.js';

/** Channels of one command: about a millisecond of the server's time. */
const CHANNELS_MAX = 500;
/** Before a failed subscription is tried again. */
const RETRY_MS = 1_000;
/** After a slot has moved, all subscriptions of the connection are made again, and once: the slot may have moved back since. */
const RESUBSCRIBE_MS = 5_000;

export type MessageHandler = (message: Buffer, channel: Buffer) => void;

interface ChannelSubscription {
  readonly channel: string;
  readonly slot: number;
  readonly handler: MessageHandler;
  /** The connection that was sent the subscription; `null`: none, or it lost it. */
  at: ServerConnection | null;
}

export interface ChannelRouting {
  /** The connection that subscribes to channels of the slot; `null` while there is none. */
  subscriberFor(slot: number): ServerConnection | null;
  /** Called when a server has replied that it does not have the slot. */
  onRedirection(error: Error, from: ServerConnection): void;
  publish(channel: string, message: string | Buffer): Promise<unknown>;
}

/**
 * Sharded pub/sub. Subscriptions survive reconnects, failovers and moves of slots. Messages that are published while one is down
 * are lost; `subscribed` emits when to read what they may have been.
 */
export class ShardedPubSub {
  readonly #subscriptions = new Map<string, ChannelSubscription>();
  readonly #pending = new Set<ChannelSubscription>();
  readonly #subscribed = new Subject<readonly string[]>();
  #isScheduled = false;
  #retryTimer: Timer | null = null;
  readonly #uncertain = new Set<ServerConnection>();
  #resubscribeTimer: Timer | null = null;
  #isClosed = false;

  constructor(
    private readonly routing: ChannelRouting,
    /** Then channels of one command must be of one slot. */
    private readonly isCluster: boolean,
    private readonly clock: Clock,
  ) {}

  /**
   * Channels that a server has just confirmed, for the first time or again: messages that are published from now on arrive,
   * earlier ones may have been lost.
   */
  readonly subscribed = this.#subscribed.asObservable();

  /** A channel has one handler: the last one replaces others. */
  subscribe(channel: string, handler: MessageHandler): void {
    this.unsubscribe(channel);
    const subscription = { channel, slot: hashSlot(channel), handler, at: null };
    this.#subscriptions.set(channel, subscription);
    this.#subscribeLater(subscription);
  }

  unsubscribe(channel: string): void {
    const subscription = this.#subscriptions.get(channel);
    if (subscription === undefined) return;
    this.#subscriptions.delete(channel);
    this.#pending.delete(subscription);
    // A connection that is lost has lost its subscriptions, too.
    if (subscription.at !== null) subscription.at.sendCommand('sunsubscribe', [channel]).catch(() => undefined);
  }

  /** Rejects when the server is down, or does not reply in time. */
  publish(channel: string, message: string | Buffer): Promise<unknown> {
    return this.routing.publish(channel, message);
  }

  deliver(channel: Buffer, message: Buffer): void {
    try {
      this.#subscriptions.get(channel.toString())?.handler(message, channel);
    } catch {
      // Ignore malformed messages: anyone with access to Redis can publish here.
    }
  }

  /** Subscribes again to what the connection was subscribed to. */
  connectionLost(connection: ServerConnection): void {
    for (const subscription of this.#subscriptions.values())
      if (subscription.at === connection) this.#subscribeLater(subscription);
  }

  /** The server has ended subscriptions, because a slot has moved. ioredis does not report which. */
  slotsMoved(connection: ServerConnection): void {
    this.#uncertain.add(connection);
    this.#resubscribeTimer ??= this.clock.after(RESUBSCRIBE_MS, () => {
      this.#resubscribeTimer = null;
      for (const connection of this.#uncertain) this.connectionLost(connection);
      this.#uncertain.clear();
    });
  }

  /** Subscribes again to channels whose slots have other servers now. */
  reroute(): void {
    for (const subscription of this.#subscriptions.values()) {
      const { at, slot } = subscription;
      if (at !== null && at !== this.routing.subscriberFor(slot)) this.#subscribeLater(subscription);
    }
    this.subscribePending();
  }

  /** Sends pending subscriptions for which there is a connection. */
  subscribePending(): void {
    const groups = new Map<string, { connection: ServerConnection; subscriptions: ChannelSubscription[] }>();
    const numbers = new Map<ServerConnection, number>();
    for (const subscription of this.#pending) {
      const connection = this.routing.subscriberFor(subscription.slot);
      if (connection?.isUp !== true) continue;
      if (!numbers.has(connection)) numbers.set(connection, numbers.size);
      const key = `${numbers.get(connection)!}:${this.isCluster ? subscription.slot : ''}`;
      let group = groups.get(key);
      if (group === undefined) groups.set(key, (group = { connection, subscriptions: [] }));
      group.subscriptions.push(subscription);
    }
    for (const { connection, subscriptions } of groups.values())
      for (let first = 0; first < subscriptions.length; first += CHANNELS_MAX)
        void this.#send(connection, subscriptions.slice(first, first + CHANNELS_MAX));
  }

  close(): void {
    this.#isClosed = true;
    this.#retryTimer?.cancel();
    this.#resubscribeTimer?.cancel();
    this.#subscriptions.clear();
    this.#pending.clear();
    this.#subscribed.complete();
  }

  async #send(connection: ServerConnection, subscriptions: readonly ChannelSubscription[]): Promise<void> {
    for (const subscription of subscriptions) {
      this.#pending.delete(subscription);
      subscription.at = connection;
    }
    const current = (): ChannelSubscription[] =>
      subscriptions.filter((one) => one.at === connection && this.#subscriptions.get(one.channel) === one);
    try {
      await connection.sendCommand(
        'ssubscribe',
        subscriptions.map(({ channel }) => channel),
      );
      const channels = current().map(({ channel }) => channel);
      if (channels.length > 0) this.#subscribed.next(channels);
    } catch (error) {
      for (const subscription of current()) this.#markPending(subscription);
      if (error instanceof Error && error.message.startsWith('MOVED ')) this.routing.onRedirection(error, connection);
      this.#retryLater();
    }
  }

  #markPending(subscription: ChannelSubscription): void {
    subscription.at = null;
    this.#pending.add(subscription);
  }

  /** Together with all others of the same turn. */
  #subscribeLater(subscription: ChannelSubscription): void {
    this.#markPending(subscription);
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    this.clock.soon(() => {
      this.#isScheduled = false;
      if (!this.#isClosed) this.subscribePending();
    });
  }

  #retryLater(): void {
    if (this.#retryTimer !== null || this.#isClosed) return;
    this.#retryTimer = this.clock.after(RETRY_MS, () => {
      this.#retryTimer = null;
      this.subscribePending();
      if (this.#pending.size > 0) this.#retryLater();
    });
  }
}
