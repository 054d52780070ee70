import type { Clock, Timer } from '../../../common/clock.js';
import { sleep } from '../../../common/sleep.js';
import { createServerClient } from './ioredis-factory.js';
import { formatAddress, type Address, type RedisTarget } from '../../../config/redis-url.js';
import { ServerConnection } from './server-connection.js';
import type { Server } from './server.js';
import { isAllReachable, type Redirection, type Topology } from './topology.js';
import { SLOTS } from './hash-slot.js';

/** Ticks between two reads of the slots; while a primary is down they are read every tick. */
const REFRESH_TICKS = 5;
const TICK_MS = 1_000;
/** Least time between two refreshes, however many redirections request one. */
const REFRESH_PAUSE_MS = 100;
/** Longest wait for a node that has no connection yet. */
const CONNECT_NODE_MS = 2_000;
/** How long the connections to a node without slots are kept after it was named as the target of a migration. */
const TARGET_KEPT_MS = 30_000;

const NOT_A_NODE = 'is not a node of a cluster; use redis://';

interface Range {
  readonly first: number;
  readonly last: number;
  readonly nodes: readonly [Address, ...Address[]];
}

/**
 * The primaries of a cluster and their slots. The client routes by itself, because a script and the WAIT for it must use one
 * socket, and because ioredis would resend commands by itself.
 */
export class ClusterTopology implements Topology {
  readonly #servers = new Map<string, Server>();
  readonly #targets = new Map<Server, number>();
  readonly #owners = new Array<Server | null>(SLOTS).fill(null);
  #replicas: readonly Address[] = [];
  #isLoaded = false;
  #refreshing: Promise<void> | null = null;
  #isRefreshRequested = false;
  #timer: Timer | null = null;
  #ticks = 0;
  #isClosed = false;
  #lastError = '';

  constructor(
    private readonly target: RedisTarget,
    private readonly clock: Clock,
    private readonly connect: (address: Address) => Server,
    /** Called with the servers that have slots which other servers had before. */
    private readonly onSlotsMoved: (to: ReadonlySet<Server>) => void,
  ) {
    this.refresh();
    this.#tickLater();
  }

  get servers(): ReadonlySet<Server> {
    const owners = new Set(this.#owners);
    owners.delete(null);
    return owners as ReadonlySet<Server>;
  }

  get isComplete(): boolean {
    return this.#isLoaded && !this.#owners.includes(null);
  }

  get lastError(): string {
    return this.#isLoaded ? 'some slots have no server' : this.#lastError;
  }

  serverForSlot(slot: number): Server | null {
    return this.#owners[slot] ?? null;
  }

  followRedirection(error: unknown, from: Server): Redirection | null {
    const [kind, slotText, node = ''] = error instanceof Error ? error.message.split(' ') : [];
    const slot = Number(slotText);
    const colon = node.lastIndexOf(':');
    if ((kind !== 'MOVED' && kind !== 'ASK') || !(slot >= 0 && slot < SLOTS) || colon === -1) return null;
    const server = this.#serverAt({
      host: node.slice(0, colon) || from.address.host,
      port: Number(node.slice(colon + 1)),
    });
    if (kind === 'ASK') {
      this.#targets.set(server, this.clock.nowMs());
      return { server, asking: true };
    }
    if (this.#owners[slot] !== server) {
      this.#owners[slot] = server;
      this.onSlotsMoved(new Set([server]));
    }
    this.refresh(from);
    return { server, asking: false };
  }

  refresh(first?: Server): void {
    this.#isRefreshRequested = true;
    if (this.#refreshing !== null || this.#isClosed) return;
    this.#refreshing = this.#refreshAll(first).finally(() => (this.#refreshing = null));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await Promise.all([...this.#servers.values()].map((server) => server.close()));
    await this.#refreshing;
  }

  async #refreshAll(first: Server | undefined): Promise<void> {
    while (this.#isRefreshRequested && !this.#isClosed) {
      this.#isRefreshRequested = false;
      const ranges = await this.#readSlots(first);
      if (ranges !== null) this.#apply(ranges);
      await sleep(this.clock, REFRESH_PAUSE_MS);
    }
  }

  async #readSlots(first: Server | undefined): Promise<Range[] | null> {
    const servers = shuffled([...this.servers]);
    if (first !== undefined) servers.unshift(first);
    for (const { queries, address } of servers) {
      const ranges = queries.isUp ? await this.#readSlotsFrom(queries, address) : null;
      if (ranges !== null) return ranges;
    }
    for (const address of [...this.#replicas, ...shuffled([...this.target.addresses])]) {
      const ranges = this.#isClosed ? null : await this.#readSlotsOfNode(address);
      if (ranges !== null) return ranges;
    }
    return null;
  }

  /** Reads from a node over a connection that is made for it. */
  async #readSlotsOfNode(address: Address): Promise<Range[] | null> {
    let settle: () => void = () => undefined;
    const settled = new Promise<void>((resolve) => (settle = resolve));
    const client = createServerClient(this.target, 'topology', address);
    client.on('error', settle);
    const connection = new ServerConnection(client, formatAddress(address), this.clock, {
      onUp: settle,
      onDown: settle,
    });
    const timer = this.clock.after(CONNECT_NODE_MS, settle);
    await settled;
    timer.cancel();
    this.#lastError = connection.lastError;
    const ranges = connection.isUp ? await this.#readSlotsFrom(connection, address) : null;
    await connection.close();
    return ranges;
  }

  async #readSlotsFrom(connection: ServerConnection, address: Address): Promise<Range[] | null> {
    try {
      return parseSlots(await connection.sendCommand('cluster', ['slots']), address.host);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#lastError = reason.includes('cluster support disabled') ? NOT_A_NODE : reason;
      return null;
    }
  }

  #apply(ranges: readonly Range[]): void {
    if (this.#isClosed) return;
    const owners = new Array<Server | null>(SLOTS).fill(null);
    for (const { first, last, nodes } of ranges) owners.fill(this.#serverAt(nodes[0]), first, last + 1);
    const gained = new Set<Server>();
    for (const [slot, owner] of owners.entries()) {
      if (owner !== null && owner !== this.#owners[slot]) gained.add(owner);
      this.#owners[slot] = owner;
    }
    this.#replicas = ranges.flatMap(({ nodes }) => nodes.slice(1).map((node) => this.#translate(node)));
    const isFirst = !this.#isLoaded;
    this.#isLoaded = ranges.length > 0;
    if (!this.#isLoaded) this.#lastError = 'no node has slots yet';
    this.#closeUnused();
    if (gained.size > 0 && !isFirst) this.onSlotsMoved(gained);
  }

  /** The address at which clients reach the node that the cluster names by this one. */
  #translate(address: Address): Address {
    return this.target.natMap?.get(formatAddress(address)) ?? address;
  }

  #serverAt(address: Address): Server {
    const key = formatAddress(this.#translate(address));
    let server = this.#servers.get(key);
    if (server === undefined) this.#servers.set(key, (server = this.connect(this.#translate(address))));
    return server;
  }

  #closeUnused(): void {
    const used = this.servers;
    const oldest = this.clock.nowMs() - TARGET_KEPT_MS;
    for (const [server, namedAtMs] of this.#targets) if (namedAtMs < oldest) this.#targets.delete(server);
    for (const [key, server] of this.#servers) {
      if (used.has(server) || this.#targets.has(server)) continue;
      this.#servers.delete(key);
      void server.close();
    }
  }

  #tickLater(): void {
    this.#timer = this.clock.after(TICK_MS, () => {
      this.#ticks += 1;
      if (!isAllReachable(this) || this.#ticks % REFRESH_TICKS === 0) this.refresh();
      this.#tickLater();
    });
  }
}

/** Parses the reply to CLUSTER SLOTS. A node that does not know its own host leaves it out: it is the `host` that has replied. */
function parseSlots(reply: unknown, host: string): Range[] {
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
