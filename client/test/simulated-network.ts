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
import { type Fault, type PostedList, withFault } from './simulated-faults.js';
import { type SimulatedGateway, type Viewer } from './simulated-gateway.js';
import { RULES } from './simulated-post.js';

/** The longest delay of a message. */
const LATENCY_MS = 60;
/** A blocked attempt to connect fails after this time. */
const UNREACHABLE_MS = 2_000;
/** The gateway's ping interval and timeout. */
const SILENCE_MS = 25_000;

/** The network between clients and the gateway: it delays messages, breaks connections and blocks transports. */
export class SimulatedNetwork {
  /** How long an attempt takes to fail, by transport. */
  readonly blocked = new Map<Transport['kind'], number>();
  /** How much longer than the latency it takes to open, by transport. */
  readonly openingMs = new Map<Transport['kind'], number>();
  readonly connections = new Set<SimulatedConnection>();
  /** Number of coming connections that are rejected with a `retryAfterMs`. */
  refusals = 0;

  constructor(
    readonly clock: SimulatedClock,
    readonly random: Random,
    readonly gateway: SimulatedGateway,
    /** Planted in all clients. */
    private readonly fault: Fault,
  ) {}

  transport(kind: Transport['kind'], client: number): Transport {
    const transport: Transport = {
      kind,
      connect: (credentials, listener) => new SimulatedConnection(this, kind, client, credentials, listener),
      operate: ({ actor, session }, operation) =>
        this.request(() =>
          this.gateway.operate({ kind: 'events', actor: actor!, lose: () => undefined }, session, operation),
        ),
    };
    return withFault(transport, this.fault, this);
  }

  /**
   * Carries `POST /v1/events`. The request or its response may be lost, and arrives even if its page has ended.
   * @param from the session of the page that sends it
   */
  fetch(init: RequestInit, from: string): Promise<Response> {
    const list = JSON.parse(init.body as string) as PostedList;
    const isResent = list.session !== from;
    const { actor, session, events } = (isResent && this.fault.resend?.(list)) || list;
    return this.request(() => {
      const { status, rejected } = this.gateway.postEvents(actor, session, events);
      return Response.json({ rejected }, { status });
    });
  }

  /** A request over HTTP without a connection. It or its response may be lost. */
  request<Answer>(handle: () => Answer): Promise<Answer> {
    const isBlocked = this.blocked.has('events');
    return new Promise((resolve, reject) => {
      const fail = (): void => reject(new Error('lost'));
      if (isBlocked || this.random.chance(0.2)) return void this.clock.after(UNREACHABLE_MS, fail);
      this.clock.after(this.latency(), () => {
        const answer = handle();
        if (this.random.chance(0.2)) return void this.clock.after(UNREACHABLE_MS, fail);
        this.clock.after(this.latency(), () => resolve(answer));
      });
    });
  }

  /** The client has ended: its connections are closed, and it does not notice. */
  end(client: number): void {
    for (const connection of this.connections) if (connection.client === client) connection.close();
  }

  latency(): number {
    return this.random.below(LATENCY_MS);
  }

  /** Ends the connections of a client. Some of the messages on their way may still reach the gateway. */
  cut(client: number, ending: CloseReason = {}): void {
    for (const connection of this.connections) if (connection.client === client) connection.lose(ending);
  }

  /** The connections of a client look open, and nothing gets through any more. */
  stall(client: number): void {
    for (const connection of this.connections) if (connection.client === client) connection.stall();
  }

  block(kind: Transport['kind'], failureMs = UNREACHABLE_MS): void {
    this.blocked.set(kind, failureMs);
    for (const connection of this.connections) if (connection.kind === kind) connection.lose({});
  }
}

class SimulatedConnection implements TransportConnection, Viewer {
  readonly posts = new Set<string>();
  readonly actor: string;
  readonly #waiting = new Set<(error: Error) => void>();
  #ended = false;
  #isStalled = false;
  /** True from the first message that did not arrive because the connection had ended: no later one does. */
  #isCut = false;
  /** Messages of one direction don't overtake each other on a socket. On an event stream the snapshot is the first event. */
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
    const { clock, blocked, openingMs } = network;
    const failureMs = blocked.get(kind);
    if (failureMs !== undefined) clock.after(failureMs, () => this.lose({}));
    else clock.after(network.latency() + (openingMs.get(kind) ?? 0), () => this.#arrive());
  }

  async subscribe(
    posts: readonly string[],
    known: ReadonlyMap<string, KnownVersion>,
  ): Promise<SubscribeResult | Failure> {
    return await this.#request(() => {
      for (const post of posts) this.posts.add(post);
      return { ok: true as const, counts: this.network.gateway.snapshots(this, posts, known), ...RULES };
    });
  }

  unsubscribe(posts: readonly string[]): void {
    this.#up(() => {
      for (const post of posts) this.posts.delete(post);
    });
  }

  async operate(operation: ClientOperation): Promise<Acknowledgement | Failure> {
    const handle = (): Acknowledgement | Failure =>
      this.network.gateway.operate(this, this.credentials.session, operation);
    // HTTP requests are independent of each other, and of the event stream.
    return await this.#request(handle, this.kind === 'socket');
  }

  counts(updates: readonly Update[]): void {
    this.#down(() => this.listener.received(['counts', updates]));
  }

  mine(event: MineEvent): void {
    this.#down(() => this.listener.received(['mine', event]));
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

  stall(): void {
    this.#isStalled = true;
    this.network.clock.after(SILENCE_MS, () => this.lose({}));
  }

  #arrive(): void {
    if (this.#ended || this.#isStalled) return;
    if (this.network.refusals > 0) {
      this.network.refusals--;
      const error = { code: 'OVERLOADED' as const, message: 'later', retryable: true, retryAfterMs: 300 };
      return this.lose({ error });
    }
    this.network.gateway.viewers.add(this);
    this.listener.opened();
  }

  #request<Answer>(handle: () => Answer, isInOrder = true): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      this.#up(() => {
        const answer = handle();
        this.#down(() => {
          this.#waiting.delete(reject);
          resolve(answer);
        }, isInOrder);
        this.network.gateway.notify();
      }, isInOrder);
    });
  }

  /** A message that was sent before the connection ended may still arrive; its answer is dropped. */
  #up(arrive: () => void, isInOrder = true): void {
    const { random } = this.network;
    this.#upAtMs = this.#deliver(isInOrder, this.#upAtMs, () => {
      const isLost = this.#ended && ((isInOrder && this.#isCut) || random.chance(0.5));
      if (isLost) this.#isCut = true;
      else arrive();
    });
  }

  #down(arrive: () => void, isInOrder = true): void {
    this.#downAtMs = this.#deliver(isInOrder, this.#downAtMs, () => {
      if (!this.#ended) arrive();
    });
  }

  /** @returns when the last message in order arrives */
  #deliver(isInOrder: boolean, lastMs: number, arrive: () => void): number {
    const { clock } = this.network;
    const atMs = clock.nowMs() + this.network.latency();
    const inOrderMs = Math.max(lastMs, atMs);
    clock.after((isInOrder ? inOrderMs : atMs) - clock.nowMs(), () => this.#isStalled || arrive());
    return isInOrder ? inOrderMs : lastMs;
  }
}
