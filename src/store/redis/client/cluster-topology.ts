import type { Clock, Timer } from '../../../common/clock.js';
import { sleep } from '../../../common/sleep.js';
import { createServerClient } from './ioredis-factory.js';
import { formatAddress, type Address, type RedisTarget } from '../../../config/redis-url.js';
import { ServerConnection } from './server-connection.js';
import type { Server } from './server.js';
import { SLOTS } from './slots.js';

/** How often the cluster is asked who holds which slots; while a primary is away, every tick. */
const REFRESH_TICKS = 5;
const TICK_MS = 1_000;
/** Least time between two refreshes, however many redirections ask for one. */
const REFRESH_PAUSE_MS = 100;
/** Longest wait for a node that is asked over a connection of its own. */
const ASK_NODE_MS = 2_000;
/** A node without slots that was named as the target of a migration is kept for this long. */
const TARGET_KEPT_MS = 30_000;

const NOT_A_NODE = 'is not a node of a cluster; use redis://';

interface Range {
  readonly first: number;
  readonly last: number;
  readonly nodes: readonly [Address, ...Address[]];
}

/**
 * The primaries of a cluster and their slots. We route by ourselves, for a script and the WAIT that confirms it must use one
 * socket, and nothing may be sent twice without our knowing.
 */
export class ClusterTopology {
  readonly #servers = new Map<string, Server>();
  readonly #targets = new Map<Server, number>();
  readonly #owners = new Array<Server | null>(SLOTS).fill(null);
  #replicas: readonly Address[] = [];
  #loaded = false;
  #refreshing: Promise<void> | null = null;
  #again = false;
  #timer: Timer | null = null;
  #ticks = 0;
  #closed = false;
  #lastError = '';

  constructor(
    private readonly target: RedisTarget,
    private readonly clock: Clock,
    private readonly connect: (address: Address) => Server,
    /** Slots have other servers than before. */
    private readonly changed: (by: ReadonlySet<Server>) => void,
  ) {
    this.refresh();
    this.#tickLater();
  }

  /** Servers that hold slots. */
  get servers(): ReadonlySet<Server> {
    const owners = new Set(this.#owners);
    owners.delete(null);
    return owners as ReadonlySet<Server>;
  }

  get isComplete(): boolean {
    return this.#loaded && !this.#owners.includes(null);
  }

  get lastError(): string {
    return this.#loaded ? 'some slots have no server' : this.#lastError;
  }

  serverForSlot(slot: number): Server | null {
    return this.#owners[slot] ?? null;
  }

  /** What the server `from` has said of who holds a slot; `null` when the error says nothing of it. */
  followRedirection(error: unknown, from: Server): { readonly server: Server; readonly asking: boolean } | null {
    const [kind, slotText, node = ''] = error instanceof Error ? error.message.split(' ') : [];
    const slot = Number(slotText);
    const colon = node.lastIndexOf(':');
    if ((kind !== 'MOVED' && kind !== 'ASK') || !(slot >= 0 && slot < SLOTS) || colon === -1) return null;
    const server = this.#server({
      host: node.slice(0, colon) || from.address.host,
      port: Number(node.slice(colon + 1)),
    });
    if (kind === 'ASK') {
      this.#targets.set(server, this.clock.nowMs());
      return { server, asking: true };
    }
    if (this.#owners[slot] !== server) {
      this.#owners[slot] = server;
      this.changed(new Set([server]));
    }
    this.refresh(from);
    return { server, asking: false };
  }

  /** Asks who holds which slots: `first` if it can be asked, else any other. */
  refresh(first?: Server): void {
    this.#again = true;
    if (this.#refreshing !== null || this.#closed) return;
    this.#refreshing = this.#refreshAll(first).finally(() => (this.#refreshing = null));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await Promise.all([...this.#servers.values()].map((server) => server.close()));
    await this.#refreshing;
  }

  async #refreshAll(first: Server | undefined): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      const ranges = await this.#ask(first);
      if (ranges !== null) this.#apply(ranges);
      await sleep(this.clock, REFRESH_PAUSE_MS);
    }
  }

  async #ask(first: Server | undefined): Promise<Range[] | null> {
    const servers = shuffled([...this.servers]);
    if (first !== undefined) servers.unshift(first);
    for (const { queries, address } of servers) {
      const ranges = queries.isUp ? await this.#slotsBy(queries, address) : null;
      if (ranges !== null) return ranges;
    }
    for (const address of [...this.#replicas, ...shuffled([...this.target.addresses])]) {
      const ranges = this.#closed ? null : await this.#askNode(address);
      if (ranges !== null) return ranges;
    }
    return null;
  }

  /** A node that we have no connection to. */
  async #askNode(address: Address): Promise<Range[] | null> {
    let settled: () => void = () => undefined;
    const answered = new Promise<void>((resolve) => (settled = resolve));
    const client = createServerClient(this.target, 'topology', address);
    client.on('error', settled);
    const connection = new ServerConnection(client, formatAddress(address), this.clock, {
      isUp: settled,
      down: settled,
    });
    const timer = this.clock.after(ASK_NODE_MS, settled);
    await answered;
    timer.cancel();
    this.#lastError = connection.lastError;
    const ranges = connection.isUp ? await this.#slotsBy(connection, address) : null;
    await connection.close();
    return ranges;
  }

  async #slotsBy(connection: ServerConnection, address: Address): Promise<Range[] | null> {
    try {
      return rangesOf(await connection.sendCommand('cluster', ['slots']), address.host);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#lastError = reason.includes('cluster support disabled') ? NOT_A_NODE : reason;
      return null;
    }
  }

  #apply(ranges: readonly Range[]): void {
    if (this.#closed) return;
    const owners = new Array<Server | null>(SLOTS).fill(null);
    for (const { first, last, nodes } of ranges) owners.fill(this.#server(nodes[0]), first, last + 1);
    const gained = new Set<Server>();
    for (const [slot, owner] of owners.entries()) {
      if (owner !== null && owner !== this.#owners[slot]) gained.add(owner);
      this.#owners[slot] = owner;
    }
    this.#replicas = ranges.flatMap(({ nodes }) => nodes.slice(1).map((node) => this.#reachable(node)));
    const first = !this.#loaded;
    this.#loaded = ranges.length > 0;
    if (!this.#loaded) this.#lastError = 'no node has slots yet';
    this.#leaveUnused();
    if (gained.size > 0 && !first) this.changed(gained);
  }

  /** Where a node is reached that the cluster names by this address. */
  #reachable(address: Address): Address {
    return this.target.natMap?.get(formatAddress(address)) ?? address;
  }

  #server(address: Address): Server {
    const key = formatAddress(this.#reachable(address));
    let server = this.#servers.get(key);
    if (server === undefined) this.#servers.set(key, (server = this.connect(this.#reachable(address))));
    return server;
  }

  #leaveUnused(): void {
    const used = this.servers;
    const oldest = this.clock.nowMs() - TARGET_KEPT_MS;
    for (const [server, named] of this.#targets) if (named < oldest) this.#targets.delete(server);
    for (const [key, server] of this.#servers) {
      if (used.has(server) || this.#targets.has(server)) continue;
      this.#servers.delete(key);
      void server.close();
    }
  }

  #tickLater(): void {
    this.#timer = this.clock.after(TICK_MS, () => {
      this.#ticks += 1;
      const missing = !this.isComplete || [...this.servers].some(({ up }) => !up);
      if (missing || this.#ticks % REFRESH_TICKS === 0) this.refresh();
      this.#tickLater();
    });
  }
}

/** The reply to CLUSTER SLOTS. A node that does not know its own name leaves it out: then it is the one we asked. */
function rangesOf(reply: unknown, host: string): Range[] {
  return (reply as [number, number, ...[string | null, number][]][]).flatMap(([first, last, ...nodes]) => {
    const [primary, ...replicas] = nodes.map(([name, port]) => ({
      host: name === '' || name === null ? host : name,
      port,
    }));
    return primary === undefined ? [] : [{ first, last, nodes: [primary, ...replicas] as const }];
  });
}

function shuffled<T>(items: T[]): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}
