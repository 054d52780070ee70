import type { Clock, Timer } from '../../../common/clock.js';
import { readEvictionPolicy, evictsCounts } from './server-check.js';
import type { Server } from './server.js';

/** Each check is one command a server. Soon enough to warn the operator who has just changed the policy. */
const INTERVAL_MS = 10_000;

/** Warns of servers that have begun to evict keys, because of another policy, or of another server after a failover. */
export class EvictionWatch {
  /** Policies of servers that may evict counts, by the server's name. */
  readonly #evicting = new Map<string, string>();
  #timer: Timer | null = null;
  #isClosed = false;

  constructor(
    private readonly servers: () => Iterable<Server>,
    private readonly clock: Clock,
    private readonly warn: (message: string) => void,
  ) {
    this.#checkLater();
  }

  get evictingServers(): number {
    return this.#evicting.size;
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #checkLater(): void {
    if (this.#isClosed) return;
    this.#timer = this.clock.after(INTERVAL_MS, () => void this.#checkAll().finally(() => this.#checkLater()));
  }

  async #checkAll(): Promise<void> {
    const servers = [...this.servers()];
    const names = new Set(servers.map(({ name }) => name));
    for (const name of this.#evicting.keys()) if (!names.has(name)) this.#evicting.delete(name);
    await Promise.all(servers.map((server) => this.#check(server)));
  }

  async #check({ name, queries }: Server): Promise<void> {
    // A server that is down is reported by its connection.
    const policy = await readEvictionPolicy(queries).catch(() => null);
    if (policy === null || policy === this.#evicting.get(name)) return;
    if (evictsCounts(policy)) {
      this.#evicting.set(name, policy);
      this.warn(
        `Redis ${name}: maxmemory-policy is now ${policy}, which evicts keys; run CONFIG SET maxmemory-policy noeviction`,
      );
    } else if (this.#evicting.delete(name)) this.warn(`Redis ${name}: maxmemory-policy is now ${policy}`);
  }
}
