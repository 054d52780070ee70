import { SentinelWatch } from './sentinel-watch.js';
import type { RedisTarget } from '../../../config/redis-url.js';
import type { Server } from './server.js';
import type { Topology } from './topology.js';

/** One server for all slots: a single one, or the current primary of those that sentinels guard. */
export class SinglePrimaryTopology implements Topology {
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
    // Each new connection finds the primary by itself.
  }

  async close(): Promise<void> {
    this.#watch?.close();
    await this.server.close();
  }
}
