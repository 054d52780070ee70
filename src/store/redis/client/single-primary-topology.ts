import { SentinelWatch } from './sentinel-watch.js';
import type { RedisTarget } from '../../../config/redis-url.js';
import type { Server } from './server.js';

/** One server for all slots: a lone one, or whichever is the primary now of those that sentinels guard. */
export class SinglePrimaryTopology {
  readonly isComplete = true;
  readonly lastError = '';
  readonly servers: ReadonlySet<Server>;
  readonly #watch: SentinelWatch | null;

  constructor(
    target: RedisTarget,
    private readonly server: Server,
  ) {
    this.servers = new Set([server]);
    this.#watch =
      target.kind === 'sentinel'
        ? new SentinelWatch(target, (primary) => {
            if (server.writes.remoteAddress !== primary) server.drop(`the sentinels have made ${primary} the primary`);
          })
        : null;
  }

  serverForSlot(): Server {
    return this.server;
  }

  followRedirection(): null {
    return null;
  }

  refresh(): void {
    // There is nothing to find out: who is the primary is asked with each new connection.
  }

  async close(): Promise<void> {
    this.#watch?.close();
    await this.server.close();
  }
}
