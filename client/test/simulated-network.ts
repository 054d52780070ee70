import type { Failure, MineEvent, Update } from '../../src/protocol/messages.js';
import type { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import type { Random } from '../../test/support/random.js';
import type {
  Acknowledgement,
  TransportConnection,
  ConnectionListener,
  Credentials,
  CloseReason,
  KnownVersion,
  ClientOperation,
  SubscribeResult,
  Transport,
} from '../src/transport.js';
import type { SimulatedGateway, Viewer } from './simulated-gateway.js';

/** The longest way of a message. */
const LATENCY_MS = 60;
/** Until an attempt that is answered by nobody is given up. */
const UNREACHABLE_MS = 2_000;

/** What lies between clients and the gateway: takes time, breaks, and lets a kind of transport through or not. */
export class SimulatedNetwork {
  readonly blocked = new Set<Transport['kind']>();
  readonly connections = new Set<SimulatedConnection>();
  /** How many operations are refused at the door in future connections, with a time to stay away. */
  refusals = 0;

  constructor(
    readonly clock: SimulatedClock,
    readonly random: Random,
    readonly gateway: SimulatedGateway,
  ) {}

  transport(kind: Transport['kind'], client: number): Transport {
    return {
      kind,
      connect: (credentials, listener) => new SimulatedConnection(this, kind, client, credentials, listener),
    };
  }

  latency(): number {
    return this.random.below(LATENCY_MS);
  }

  /** Ends the connections of a client: of the messages on their way some more may still arrive at the gateway. */
  cut(client: number, ending: CloseReason = {}): void {
    for (const connection of this.connections) if (connection.client === client) connection.lose(ending);
  }

  block(kind: Transport['kind']): void {
    this.blocked.add(kind);
    for (const connection of this.connections) if (connection.kind === kind) connection.lose({});
  }
}

class SimulatedConnection implements TransportConnection, Viewer {
  readonly posts = new Set<string>();
  readonly actor: string;
  readonly #waiting = new Set<(error: Error) => void>();
  #ended = false;
  /** Messages of one direction don't overtake each other on a socket. */
  #upAtMs = 0;
  #downAtMs = 0;

  constructor(
    private readonly network: SimulatedNetwork,
    readonly kind: Transport['kind'],
    readonly client: number,
    private readonly credentials: Credentials,
    private readonly listener: ConnectionListener,
  ) {
    this.actor = credentials.actor!;
    network.connections.add(this);
    const { clock, blocked } = network;
    if (blocked.has(kind)) clock.after(UNREACHABLE_MS, () => this.lose({}));
    else clock.after(network.latency(), () => this.#arrive());
  }

  async subscribe(
    posts: readonly string[],
    known: ReadonlyMap<string, KnownVersion>,
  ): Promise<SubscribeResult | Failure> {
    return await this.#ask(() => {
      for (const post of posts) this.posts.add(post);
      return { ok: true as const, counts: this.network.gateway.snapshots(this, posts, known) };
    });
  }

  unsubscribe(posts: readonly string[]): void {
    this.#up(() => {
      for (const post of posts) this.posts.delete(post);
    });
  }

  async operate(operation: ClientOperation): Promise<Acknowledgement | Failure> {
    return await this.#ask(() => this.network.gateway.operate(this, this.credentials.session, operation));
  }

  counts(updates: readonly Update[]): void {
    this.#down(() => this.listener.counts(updates));
  }

  mine(event: MineEvent): void {
    this.#down(() => this.listener.mine(event));
  }

  close(): void {
    this.#ended = true;
    this.network.connections.delete(this);
    this.network.gateway.viewers.delete(this);
    for (const reject of this.#waiting) reject(new Error('ended'));
  }

  lose(ending: CloseReason): void {
    if (this.#ended) return;
    this.close();
    this.listener.closed(ending);
  }

  #arrive(): void {
    if (this.#ended) return;
    if (this.network.refusals > 0) {
      this.network.refusals--;
      const error = { code: 'OVERLOADED' as const, message: 'later', retryable: true, retryAfterMs: 300 };
      return this.lose({ error });
    }
    this.network.gateway.viewers.add(this);
    this.listener.opened();
  }

  #ask<Answer>(handle: () => Answer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      this.#up(() => {
        const answer = handle();
        this.#down(() => {
          this.#waiting.delete(reject);
          resolve(answer);
        });
      });
    });
  }

  /** What was sent before the connection ended may arrive all the same, and is answered to nobody. */
  #up(arrive: () => void): void {
    const { clock, random } = this.network;
    this.#upAtMs = this.#next(this.#upAtMs);
    clock.after(this.#upAtMs - clock.nowMs(), () => {
      if (!this.#ended || random.chance(0.5)) arrive();
    });
  }

  #down(arrive: () => void): void {
    const { clock } = this.network;
    this.#downAtMs = this.#next(this.#downAtMs);
    clock.after(this.#downAtMs - clock.nowMs(), () => {
      if (!this.#ended) arrive();
    });
  }

  #next(lastMs: number): number {
    const atMs = this.network.clock.nowMs() + this.network.latency();
    // Requests of HTTP go beside each other.
    return this.kind === 'socket' ? Math.max(lastMs, atMs) : atMs;
  }
}
