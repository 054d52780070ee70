import type { Redis } from 'ioredis';
import { createSentinelClient } from './ioredis-factory.js';
import type { RedisTarget } from '../../../config/redis-url.js';

const CHANNEL = '+switch-master';

/**
 * Subscribes to the failovers that sentinels publish. A primary that is cut off from them, but not from this gateway, takes
 * writes that are lost when it comes back as a replica, and reports nothing itself.
 */
export class SentinelWatch {
  readonly #clients: readonly Redis[];

  /** @param onSwitch  called with `address:port` of the new primary, once for each sentinel */
  constructor(target: RedisTarget, onSwitch: (primary: string) => void) {
    this.#clients = target.addresses.map((address) => {
      const client = createSentinelClient(target, address);
      // It reconnects by itself, and the other sentinels publish the same.
      client.on('error', () => undefined);
      client.on('ready', () => void client.subscribe(CHANNEL).catch(() => undefined));
      client.on('message', (_channel: string, text: string) => {
        const [master, , , host, port] = text.split(' ');
        if (master === target.master) onSwitch(`${host ?? ''}:${port ?? ''}`);
      });
      client.connect().catch(() => undefined);
      return client;
    });
  }

  close(): void {
    for (const client of this.#clients) client.disconnect();
  }
}
