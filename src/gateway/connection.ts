import type { Identity } from '../access/authenticator.js';
import type { ClientCreations } from '../access/creation-limiter.js';
import type { OperationLimiter, TokenBucket } from '../access/rate-limit.js';
import type { Clock, Timer } from '../common/clock.js';
import type { Key64 } from '../counters/ids.js';
import type { Viewer } from '../fanout/viewer.js';
import type { GatewaySocket } from './gateway-socket.js';
import { CONGESTED, type FlowControl, type FlowControlOwner } from './connection-flow-control.js';
import type { PausableConnection } from './read-backpressure.js';
import { RequestOrder } from './request-order.js';
import type { SocketOutput } from './socket-output.js';

/** `retryAfterMs` for a client that is disconnected because it sent too much. */
const FLOOD_RETRY_MS = 10_000;

interface ConnectionOptions {
  readonly socket: GatewaySocket;
  readonly output: SocketOutput;
  readonly viewer: Viewer;
  readonly flowControl: FlowControl;
  readonly clock: Clock;
  /** Ends the connection when its token expires; `null`: the token never does. */
  readonly expiry: Timer | null;
  /** The key of the actor's name, or a key made for this connection. */
  readonly actor: Key64;
  readonly operations: OperationLimiter;
  /** Limits posts looked up by `subscribe` and `unsubscribe`. */
  readonly lookups: TokenBucket;
  /** `null` where the address has no limits. */
  readonly creations: ClientCreations | null;
}

/** One client's connection: who acts there, what the client may do, and how the connection ends. */
export class Connection implements PausableConnection, FlowControlOwner {
  readonly socket: GatewaySocket;
  readonly output: SocketOutput;
  readonly order: RequestOrder;
  readonly viewer: Viewer;
  readonly flowControl: FlowControl;
  readonly actor: Key64;
  /** Whether what the client adds is not counted. */
  readonly isBot: boolean;
  readonly operations: OperationLimiter;
  readonly lookups: TokenBucket;
  readonly creations: ClientCreations | null;
  readonly #clock: Clock;
  readonly #expiry: Timer | null;

  constructor(options: ConnectionOptions) {
    this.socket = options.socket;
    this.output = options.output;
    this.order = new RequestOrder(options.socket);
    this.viewer = options.viewer;
    this.flowControl = options.flowControl;
    this.actor = options.actor;
    this.isBot = options.socket.data.isBot;
    this.operations = options.operations;
    this.lookups = options.lookups;
    this.creations = options.creations;
    this.#clock = options.clock;
    this.#expiry = options.expiry;
    options.flowControl.owner = this;
  }

  get identity(): Identity {
    return this.socket.data.identity;
  }

  get session(): Key64 | null {
    return this.socket.data.session;
  }

  get isPolling(): boolean {
    return this.socket.conn.transport.name === 'polling';
  }

  get address(): string {
    return this.socket.data.address;
  }

  get unacknowledged(): number {
    return this.order.unacknowledged;
  }

  pause(): boolean {
    if (this.socket.conn.transport.name !== 'websocket') return false;
    this.flowControl.pause(CONGESTED);
    return true;
  }

  resume(): void {
    this.flowControl.resume(CONGESTED);
  }

  keepAliveWhilePaused(): void {
    this.output.direct?.restartPingTimeout();
  }

  pauseReading(): (() => void) | null {
    const { direct } = this.output;
    return direct?.pauseReading() === true ? () => direct.resumeReading() : null;
  }

  excludePause(forMs: number): void {
    this.operations.excludePause(this.#clock.nowMs(), forMs);
  }

  disconnectFlooding(): void {
    this.output.disconnect('this connection keeps on sending more than it may', FLOOD_RETRY_MS);
  }

  /** The socket is disconnected. */
  dispose(): void {
    this.#expiry?.cancel();
    // If the client left without closing its transport, nothing else closes it. Its events are acknowledged first.
    if (this.socket.conn.readyState !== 'closed') this.output.close();
  }
}
