import { type Observable, Subject } from 'rxjs';
import type { Clock } from '../../../common/clock.js';
import { ShardedPubSub } from './sharded-pubsub.js';
import { ClusterTopology } from './cluster-topology.js';
import { type Address, formatAddress, type RedisTarget } from '../../../config/redis-url.js';
import { EvictionWatch } from './eviction-watch.js';
import type { ServerCheckOptions } from './server-check.js';
import type { ServerConnection } from './server-connection.js';
import { type RunnableScript, type ScriptArguments, Server, type ServerEvents } from './server.js';
import { SinglePrimaryTopology } from './single-primary-topology.js';
import { STARTUP_MS, startUp } from './startup.js';
import { isAllReachable, type Topology } from './topology.js';
import { hashSlot } from './hash-slot.js';

/**
 * How far back a failover goes at most: the lag of the replica that is promoted, and the time until the gateways reach the new
 * primary.
 */
export const FAILOVER_LOSS_MAX_MS = 10_000;
/** Calls in flight, far more than buckets. Beyond it the servers do not keep up. */
const CALLS_MAX = 10_000;
/** A server that rejects a write, e.g. for lack of memory, counts as unavailable for this long, or until it takes one. */
const REJECTED_MS = 5_000;
/** Errors of a key or its slot, and not of the server. */
const KEY_ERROR = /^(TRYAGAIN|ASK|MOVED|ERR|WRONGTYPE) /;

export interface RedisClientOptions {
  readonly clock: Clock;
  /** Whether a write resolves only when a replica has it, too. */
  readonly replicated: boolean;
  /** The setting that names the servers, for errors at boot; REDIS_URL if left out. */
  readonly setting?: ServerCheckOptions['setting'];
  /** Called with one line for the operator. */
  readonly warn: (message: string) => void;
}

type Call = (server: Server, asking: boolean) => Promise<unknown>;

/**
 * Connections to a single server, to the primary that sentinels name, or to the primaries of a cluster. A command is sent
 * once. A rejected one may have been executed, so the caller has to make its retry idempotent.
 */
export class RedisClient {
  readonly pubSub: ShardedPubSub;
  readonly #topology: Topology;
  readonly #eviction: EvictionWatch;
  readonly #reconnected = new Subject<void>();
  #calls = 0;
  #isOpen = false;
  #rejectedAtMs = -Infinity;

  private constructor(
    private readonly target: RedisTarget,
    private readonly options: RedisClientOptions,
  ) {
    const { clock } = options;
    const cluster = target.kind === 'cluster';
    const connect = (address: Address): Server => this.#connect(address);
    this.pubSub = new ShardedPubSub(
      {
        subscriberFor: (slot) => this.#topology.serverForSlot(slot)?.subscriptions ?? null,
        onRedirection: (error, from) => this.#followRedirection(error, from),
        publish: (channel, message) => this.#publish(channel, message),
      },
      cluster,
      clock,
    );
    this.#topology = cluster
      ? new ClusterTopology(target, clock, connect, (gained) => this.#slotsMoved(gained))
      : new SinglePrimaryTopology(target, connect(target.addresses[0]));
    this.#eviction = new EvictionWatch(() => this.#topology.servers, clock, options.warn);
  }

  /**
   * Connects, waiting up to 10 s until all servers are reachable, and checks them.
   * @throws Error, one line, e.g. "REDIS_URL redis://10.0.0.1:6379: could not connect: connect ECONNREFUSED …".
   */
  static async open(target: RedisTarget, options: RedisClientOptions): Promise<RedisClient> {
    const { setting = 'REDIS_URL' } = options;
    const client = new RedisClient(target, options);
    // The clock's timers do not keep the process alive, and between two attempts to connect nothing else does.
    const keepAlive = setInterval(() => undefined, STARTUP_MS);
    try {
      await startUp(client.#topology, target, { ...options, setting });
    } catch (error) {
      await client.close();
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`${setting} ${formatTarget(target)}: ${reason}`, { cause: error });
    } finally {
      clearInterval(keepAlive);
    }
    client.#isOpen = true;
    return client;
  }

  /**
   * Some server is connected and answers probes, and the last write was not rejected. While one server of a cluster is down, the
   * posts of the others are served.
   */
  get available(): boolean {
    if (this.options.clock.nowMs() - this.#rejectedAtMs <= REJECTED_MS) return false;
    return [...this.#topology.servers].some(({ isUp }) => isUp);
  }

  /** The URL without its login. */
  get url(): string {
    return formatTarget(this.target);
  }

  /** Whether keys are spread over several servers by slots, which may move. */
  get hasSlots(): boolean {
    return this.target.kind === 'cluster';
  }

  /**
   * Emits when a server that was down, or another one in its place, is connected: it may lack recent commits.
   */
  get reconnected(): Observable<void> {
    return this.#reconnected;
  }

  /**
   * Runs the script on the server that has `keys`, which are of one slot if there are slots. ARGV[1] is the run id of that server;
   * `args` follow. Rejects when the outcome is unknown, or with the server's error. With `replicated` it resolves when a replica has
   * all that the server had after the script.
   */
  async write(script: RunnableScript, keys: readonly [string, ...string[]], args: ScriptArguments): Promise<unknown> {
    try {
      const reply = await this.#run(hashSlot(keys[0]), (server, asking) => server.write(script, keys, args, asking));
      this.#rejectedAtMs = -Infinity;
      return reply;
    } catch (error) {
      if (!KEY_ERROR.test((error as Error).message)) this.#rejectedAtMs = this.options.clock.nowMs();
      throw error;
    }
  }

  /** Like `write`, over another connection, so that neither waits for the other, and without waiting for replicas. */
  query(script: RunnableScript, keys: readonly [string, ...string[]], args: ScriptArguments): Promise<unknown> {
    return this.#run(hashSlot(keys[0]), (server, asking) => server.query(script, keys, args, asking));
  }

  /** Ends all connections, and rejects what is in flight. */
  async close(): Promise<void> {
    this.#isOpen = false;
    this.#reconnected.complete();
    this.pubSub.close();
    this.#eviction.close();
    await this.#topology.close();
  }

  /** How many servers may evict counts, because their eviction policy was changed. */
  get evictingServers(): number {
    return this.#eviction.evictingServers;
  }

  /** Every server is connected and answers probes. */
  get allReachable(): boolean {
    return isAllReachable(this.#topology);
  }

  /** Follows one redirection. Further ones reject, because the caller retries later anyway. */
  async #run(slot: number, call: Call): Promise<unknown> {
    if (this.#calls >= CALLS_MAX) throw new Error(`Redis does not keep up: ${CALLS_MAX} calls wait`);
    const server = this.#topology.serverForSlot(slot);
    if (server === null) throw new Error(`no server of the cluster has slot ${slot}`);
    this.#calls += 1;
    try {
      return await call(server, false);
    } catch (error) {
      const redirection = this.#topology.followRedirection(error, server);
      if (redirection === null) throw error;
      return await call(redirection.server, redirection.asking);
    } finally {
      this.#calls -= 1;
    }
  }

  #publish(channel: string, message: string | Buffer): Promise<unknown> {
    return this.#run(hashSlot(channel), ({ queries }) => queries.sendCommand('spublish', [channel, message]));
  }

  #connect(address: Address): Server {
    const { clock, replicated, warn } = this.options;
    const events: ServerEvents = {
      onUp: (server) => {
        if (!this.#isOpen || !this.#topology.servers.has(server)) return;
        warn(`Redis ${server.name}: connected`);
        this.#reconnected.next();
      },
      onDown: (server, reason) => {
        if (!this.#isOpen) return;
        warn(`Redis ${server.name}: connection lost: ${reason}`);
        this.#topology.refresh();
      },
      onSubscriptionsUp: () => this.pubSub.subscribePending(),
      onSubscriptionsDown: ({ subscriptions }) => this.pubSub.connectionLost(subscriptions),
      onSlotMoved: (server) => {
        this.#topology.refresh(server);
        this.pubSub.slotsMoved(server.subscriptions);
      },
    };
    const onMessage = (channel: Buffer, message: Buffer): void => this.pubSub.deliver(channel, message);
    return new Server(this.target, address, { clock, replicated, onMessage }, events);
  }

  #followRedirection(error: Error, from: ServerConnection): void {
    const server = [...this.#topology.servers].find(({ subscriptions }) => subscriptions === from);
    if (server !== undefined) this.#topology.followRedirection(error, server);
  }

  #slotsMoved(gained: ReadonlySet<Server>): void {
    this.pubSub.reroute();
    // A server that is not up yet emits when it is.
    if (this.#isOpen && [...gained].some(({ writes }) => writes.isUp)) this.#reconnected.next();
  }
}

/** The URL without the login. */
function formatTarget({ kind, addresses, master, tls, database }: RedisTarget): string {
  const scheme = `redis${tls ? 's' : ''}${kind === 'single' ? '' : `+${kind}`}`;
  const path = [master, database === 0 ? '' : String(database)].filter((segment) => segment !== '');
  return [`${scheme}://${addresses.map(formatAddress).join(',')}`, ...path].join('/');
}
