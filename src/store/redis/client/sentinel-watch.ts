import type { Redis } from 'ioredis';
import { createSentinelClient } from './ioredis-factory.js';
import type { RedisTarget } from '../../../config/redis-url.js';

const CHANNEL = '+switch-master';

/**
 * Hears of failovers from the sentinels: a primary that is cut off from them, but not from us, takes writes that are
 * lost when it comes back as a replica, and would not tell us.
 */
export class SentinelWatch {
  readonly #clients: readonly Redis[];

  /** `switched` is called with `address:port` of the new primary, once for each sentinel. */
  constructor(target: RedisTarget, switched: (primary: string) => void) {
    this.#clients = target.addresses.map((address) => {
      const client = createSentinelClient(target, address);
      // It comes back by itself, and the others hear the same.
      client.on('error', () => undefined);
      client.on('ready', () => void client.subscribe(CHANNEL).catch(() => undefined));
      client.on('message', (_channel: string, text: string) => {
        const [master, , , host, port] = text.split(' ');
        if (master === target.master) switched(`${host ?? ''}:${port ?? ''}`);
      });
      client.connect().catch(() => undefined);
      return client;
    });
  }

  close(): void {
    for (const client of this.#clients) client.disconnect();
  }
}
