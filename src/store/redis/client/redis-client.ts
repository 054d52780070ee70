import { type Observable, Subject } from 'rxjs';
import type { Clock } from '../../../common/clock.js';
import { sleep } from '../../../common/sleep.js';
import { ShardedPubSub } from './sharded-pubsub.js';
import { ClusterTopology } from './cluster-topology.js';
import { type Address, formatAddress, type RedisTarget } from '../../../config/redis-url.js';
import { EvictionWatch } from './eviction-watch.js';
import { checkServer } from './server-check.js';
import type { ServerConnection } from './server-connection.js';
import { type RunnableScript, type ScriptArguments, Server, type ServerEvents } from './server.js';
import { SinglePrimaryTopology } from './single-primary-topology.js';
import { slotOf } from './slots.js';

/**
 * How far back a failover goes at most: the lag of the replica that is promoted, and the time until the gateways reach the new
 * primary.
 */
export const FAILOVER_LOSS_MAX_MS = 10_000;
/** How long servers may take to be there at boot, e.g. when all are started together. */
const OPEN_MS = 10_000;
const OPEN_CHECK_MS = 20;
/** For nodes at addresses that only the cluster names, as long as none of them answers: waiting for a route is in vain. */
const ANNOUNCED_MS = 2_500;
/** Calls in flight; far more than buckets. What comes on top finds servers that do not keep up. */
const CALLS_MAX = 10_000;
/** A server that has refused a write, e.g. for want of memory, counts as away for this long, or until it takes one. */
const REFUSED_MS = 5_000;
/** What waiting does not heal. */
const HOPELESS =
  /WRONGPASS|NOAUTH|NOPERM|certificate|altname|SSL|TLS|not a node of a cluster|no primary of that name|not sentinels/i;

export interface RedisClientOptions {
  readonly clock: Clock;
  /** Whether a write is confirmed once a replica has it, too. */
  readonly replicated: boolean;
  /** Called with one line: what the operator should know. */
  readonly warn: (message: string) => void;
}

/** Says something of these keys, and nothing of the server: a slot that moves, or a key that is not ours. */
const OF_THESE_KEYS = /^(TRYAGAIN|ASK|MOVED|ERR|WRONGTYPE) /;

/** What a command is rejected with when its connection ends. */
const LOST = /connection was lost|not connected|no answer to|connection is closed/i;

type Call = (server: Server, asking: boolean) => Promise<unknown>;

/**
 * The way to the servers: a lone one, the primary that sentinels know, or the primaries of a cluster. Commands are sent
 * once and never again; what is rejected may have been done, so the caller sends it again, fenced.
 */
export class RedisClient {
  readonly pubSub: ShardedPubSub;
  readonly #servers: SinglePrimaryTopology | ClusterTopology;
  readonly #eviction: EvictionWatch;
  readonly #returned = new Subject<void>();
  #calls = 0;
  #opened = false;
  #refusedAtMs = -Infinity;

  private constructor(
    private readonly target: RedisTarget,
    private readonly options: RedisClientOptions,
  ) {
    const { clock } = options;
    const cluster = target.kind === 'cluster';
    const connect = (address: Address): Server => this.#connect(address);
    this.pubSub = new ShardedPubSub(
      {
        subscriberFor: (slot) => this.#servers.serverForSlot(slot)?.subscriptions ?? null,
        onRedirection: (error, from) => this.#redirected(error, from),
        publish: (channel, message) => this.#publish(channel, message),
      },
      cluster,
      clock,
    );
    this.#servers = cluster
      ? new ClusterTopology(target, clock, connect, (gained) => this.#rerouted(gained))
      : new SinglePrimaryTopology(target, connect(target.addresses[0]));
    this.#eviction = new EvictionWatch(() => this.#servers.servers, clock, options.warn);
  }

  /**
   * Connects, waiting up to 10 s for the servers to be there, and checks them.
   *
   * @throws Error, one line, e.g. "REDIS_URL redis://10.0.0.1:6379: could not connect: connect ECONNREFUSED …".
   */
  static async open(target: RedisTarget, options: RedisClientOptions): Promise<RedisClient> {
    const connections = new RedisClient(target, options);
    // The clock's timers do not keep the process alive, and between two attempts to connect nothing else does.
    const alive = setInterval(() => undefined, OPEN_MS);
    try {
      await connections.#checked();
    } catch (error) {
      await connections.close();
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`REDIS_URL ${targetText(target)}: ${reason}`, { cause: error });
    } finally {
      clearInterval(alive);
    }
    connections.#opened = true;
    return connections;
  }

  /**
   * A server is connected, answers probes, and the last write was not refused by it. One of a cluster's that is away leaves
   * the others' posts to be served.
   */
  get available(): boolean {
    return (
      [...this.#servers.servers].some(({ up }) => up) && this.options.clock.nowMs() - this.#refusedAtMs > REFUSED_MS
    );
  }

  /** The setting without its login. */
  get url(): string {
    return targetText(this.target);
  }

  /** Whether keys are spread over servers by slots, which may move. */
  get hasSlots(): boolean {
    return this.target.kind === 'cluster';
  }

  /**
   * Emits when a server is there again after it was away, or another one instead of it: what was committed lately may be
   * missing there.
   */
  get reconnected(): Observable<void> {
    return this.#returned;
  }

  /**
   * Runs the script where `keys` are, all of one slot, or anywhere where there are no slots. Its ARGV[1] is the run id of that
   * server; `args` follow. Rejects when the outcome is unknown, or the server refuses. Replicated: resolves when a
   * replica has all that the server had when the script had run.
   */
  async write(script: RunnableScript, keys: readonly [string, ...string[]], args: ScriptArguments): Promise<unknown> {
    try {
      const reply = await this.#run(slotOf(keys[0]), (server, asking) => server.write(script, keys, args, asking));
      this.#refusedAtMs = -Infinity;
      return reply;
    } catch (error) {
      if (!OF_THESE_KEYS.test((error as Error).message)) this.#refusedAtMs = this.options.clock.nowMs();
      throw error;
    }
  }

  /** The same over a connection of its own, so that neither waits for the other, and without waiting for replicas. */
  query(script: RunnableScript, keys: readonly [string, ...string[]], args: ScriptArguments): Promise<unknown> {
    return this.#run(slotOf(keys[0]), (server, asking) => server.query(script, keys, args, asking));
  }

  /** Ends all connections; what is in flight is rejected. */
  async close(): Promise<void> {
    this.#opened = false;
    this.#returned.complete();
    this.pubSub.close();
    this.#eviction.close();
    await this.#servers.close();
  }

  /** Servers that may throw counts away, because their eviction policy was changed. */
  get evictingServers(): number {
    return this.#eviction.evictingServers;
  }

  /** Every server is connected and answers probes. */
  get allReachable(): boolean {
    return this.#servers.isComplete && [...this.#servers.servers].every(({ up }) => up);
  }

  /** To where a redirection says, once; further ones are for the caller, who tries again later anyway. */
  async #run(slot: number, call: Call): Promise<unknown> {
    if (this.#calls >= CALLS_MAX) throw new Error(`Redis does not keep up: ${CALLS_MAX} calls wait`);
    const server = this.#servers.serverForSlot(slot);
    if (server === null) throw new Error(`no server of the cluster has slot ${slot}`);
    this.#calls += 1;
    try {
      return await call(server, false);
    } catch (error) {
      const redirection = this.#servers.followRedirection(error, server);
      if (redirection === null) throw error;
      return await call(redirection.server, redirection.asking);
    } finally {
      this.#calls -= 1;
    }
  }

  #publish(channel: string, message: string | Buffer): Promise<unknown> {
    return this.#run(slotOf(channel), ({ queries }) => queries.sendCommand('spublish', [channel, message]));
  }

  #connect(address: Address): Server {
    const { clock, replicated, warn } = this.options;
    const events: ServerEvents = {
      up: (server) => {
        if (!this.#opened || !this.#servers.servers.has(server)) return;
        warn(`Redis ${server.name}: connected`);
        this.#returned.next();
      },
      down: (server, reason) => {
        if (!this.#opened) return;
        warn(`Redis ${server.name}: connection lost: ${reason}`);
        this.#servers.refresh();
      },
      subscriptionsUp: () => this.pubSub.subscribePending(),
      subscriptionsDown: ({ subscriptions }) => this.pubSub.connectionLost(subscriptions),
      subscriptionsMoved: (server) => {
        this.#servers.refresh(server);
        this.pubSub.slotsMoved(server.subscriptions);
      },
    };
    const onMessage = (channel: Buffer, message: Buffer): void => this.pubSub.deliver(channel, message);
    return new Server(this.target, address, { clock, replicated, onMessage }, events);
  }

  #redirected(error: Error, from: ServerConnection): void {
    const server = [...this.#servers.servers].find(({ subscriptions }) => subscriptions === from);
    if (server !== undefined) this.#servers.followRedirection(error, server);
  }

  #rerouted(gained: ReadonlySet<Server>): void {
    this.pubSub.reroute();
    // Those that are not up emit when they are.
    if (this.#opened && [...gained].some(({ writes }) => writes.isUp)) this.#returned.next();
  }

  /** A connection that is lost while it is checked says nothing of the server. */
  async #checked(): Promise<void> {
    const { clock } = this.options;
    const end = clock.nowMs() + OPEN_MS;
    for (;;) {
      await this.#connected();
      try {
        await this.#check();
        return;
      } catch (error) {
        if (!LOST.test((error as Error).message) || clock.nowMs() > end) throw error;
      }
    }
  }

  async #connected(): Promise<void> {
    const { clock } = this.options;
    const end = clock.nowMs() + OPEN_MS;
    let announcedAtMs = Infinity;
    while (!this.allReachable) {
      const reason = this.#lastError;
      if (this.#servers.isComplete) announcedAtMs = Math.min(announcedAtMs, clock.nowMs());
      if (clock.nowMs() - announcedAtMs > ANNOUNCED_MS) this.#expectReachable(reason);
      if (clock.nowMs() > end || HOPELESS.test(reason)) throw new Error(`could not connect: ${reason}`);
      await sleep(clock, OPEN_CHECK_MS);
    }
  }

  /** @throws Error if a cluster names its nodes by addresses that are not those of REDIS_URL, and none of them answers. */
  #expectReachable(reason: string): void {
    const { kind, addresses } = this.target;
    const given = new Set(addresses.map(formatAddress));
    const servers = [...this.#servers.servers];
    const stranger = servers.find(({ name }) => !given.has(name));
    if (kind !== 'cluster' || stranger === undefined || servers.some(({ writes }) => writes.isUp)) return;
    throw new Error(
      `the cluster announces its nodes as ${servers.map(({ name }) => name).join(', ')}, and none of these can be reached (${reason}); ` +
        `set cluster-announce-ip of the nodes, or REDIS_NAT_MAP=${stranger.name}=host:port,… to where they are reached`,
    );
  }

  get #lastError(): string {
    if (!this.#servers.isComplete) return this.#servers.lastError;
    return [...this.#servers.servers].find(({ up }) => !up)?.lastError ?? '';
  }

  async #check(): Promise<void> {
    const { replicated, warn } = this.options;
    for (const { writes } of this.#servers.servers) await checkServer(writes, this.target.kind, replicated, warn);
  }
}

/** Without the login. */
function targetText({ kind, addresses, master, tls, database }: RedisTarget): string {
  const scheme = `redis${tls ? 's' : ''}${kind === 'single' ? '' : `+${kind}`}`;
  const path = [master, database === 0 ? '' : String(database)].filter((part) => part !== '');
  return [`${scheme}://${addresses.map(formatAddress).join(',')}`, ...path].join('/');
}
