import type { ServerConnection } from './server-connection.js';
import type { Subscriber } from './subscriber.js';

interface Node {
  readonly client: { sendCommand(command: readonly string[]): Promise<unknown> };
}

/**
 * The client for both directions of @socket.io/redis-adapter's `createShardedAdapter`, in the shape of node-redis, which
 * it knows by `sSubscribe`. With clients of ioredis it drops the promises of subscriptions, and one that is rejected
 * ends the process.
 */
export class AdapterClient {
  constructor(
    private readonly subscriber: Subscriber,
    private readonly publish: (channel: string, message: string | Buffer) => Promise<unknown>,
    private readonly servers: () => readonly ServerConnection[],
  ) {}

  /** By which the adapter asks each server for its subscribers. */
  get masters(): readonly Node[] {
    return this.servers().map((connection) => ({
      client: { sendCommand: ([name, ...args]) => connection.command(name!, args) },
    }));
  }

  sSubscribe(channel: string, handler: (message: Buffer, channel: Buffer) => void): void {
    this.subscriber.subscribe(channel, handler);
  }

  sUnsubscribe(channel: string | readonly string[]): void {
    for (const one of typeof channel === 'string' ? [channel] : channel) this.subscriber.unsubscribe(one);
  }

  sPublish(channel: string, message: string | Buffer): Promise<unknown> {
    return this.publish(channel, message);
  }
}
