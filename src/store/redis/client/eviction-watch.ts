import type { Clock, Timer } from '../../../common/clock.js';
import { readEvictionPolicy, evictsCounts } from './server-check.js';
import type { Server } from './server.js';

/** A command a server: cheap, and soon enough for an operator who has just changed it. */
const INTERVAL_MS = 10_000;

/** Notices servers that have come to evict keys: another policy, or another server after a failover. */
export class EvictionWatch {
  /** Names of servers that evict counts, with their policies. */
  readonly #evicting = new Map<string, string>();
  #timer: Timer | null = null;
  #closed = false;

  constructor(
    private readonly servers: () => Iterable<Server>,
    private readonly clock: Clock,
    private readonly warn: (message: string) => void,
  ) {
    this.#lookLater();
  }

  /** Servers that may throw counts away. */
  get evictingServers(): number {
    return this.#evicting.size;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #lookLater(): void {
    if (this.#closed) return;
    this.#timer = this.clock.after(INTERVAL_MS, () => void this.#lookAtAll().finally(() => this.#lookLater()));
  }

  async #lookAtAll(): Promise<void> {
    const servers = [...this.servers()];
    const names = new Set(servers.map(({ name }) => name));
    for (const name of this.#evicting.keys()) if (!names.has(name)) this.#evicting.delete(name);
    await Promise.all(servers.map((server) => this.#lookAt(server)));
  }

  async #lookAt({ name, queries }: Server): Promise<void> {
    // A server that is away has nothing to say, and its connection says so.
    const policy = await readEvictionPolicy(queries).catch(() => null);
    if (policy === null || policy === this.#evicting.get(name)) return;
    if (evictsCounts(policy)) {
      this.#evicting.set(name, policy);
      this.warn(
        `Redis ${name}: maxmemory-policy is now ${policy}, which throws counts away; run CONFIG SET maxmemory-policy noeviction`,
      );
    } else if (this.#evicting.delete(name)) this.warn(`Redis ${name}: maxmemory-policy is now ${policy}`);
  }
}
