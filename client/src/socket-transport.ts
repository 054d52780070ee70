import type { ErrorBody } from '../../src/protocol/errors.js';
import type { ByeEvent, Failure } from '../../src/protocol/messages.js';
import type { Environment, Timer } from './environment.js';
import {
  type Acknowledgement,
  ACK_TIMEOUT_MS,
  type TransportConnection,
  type ConnectionListener,
  type Credentials,
  type CloseReason,
  type GatewayEvent,
  type KnownVersion,
  type ClientOperation,
  type SubscribeResult,
  type Transport,
} from './transport.js';

/** Deadline for the gateway to accept the connection. */
const CONNECT_MS = 10_000;

/** Packet prefixes: the type of Engine.IO, and for messages that of Socket.IO after it. */
const OPEN = '0';
const PING = '2';
const PONG = '3';
const CONNECTED = '40';
const DISCONNECTED = '41';
const EVENT = '42';
const ACKNOWLEDGEMENT = '43';
const CONNECT_ERROR = '44';

interface PendingRequest {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
  readonly deadline: Timer;
}

/**
 * The part of Socket.IO over a WebSocket that the gateway uses: one namespace, JSON, no binary. It replaces
 * socket.io-client, which would take 13 of the 20 kB that a page may load. Two thirds of those are long-polling and a
 * reconnect that would have to be switched off: it ignores `bye` and `retryAfterMs`, and sends what was emitted while
 * disconnected before older operations can be resent.
 * https://github.com/socketio/engine.io-protocol, https://github.com/socketio/socket.io-protocol
 */
export class SocketTransport implements Transport {
  readonly kind = 'socket';
  readonly #url: string;

  constructor(
    gateway: string,
    private readonly environment: Environment,
  ) {
    this.#url = `${gateway.replace(/^http/, 'ws')}/socket.io/?EIO=4&transport=websocket`;
  }

  connect(credentials: Credentials, listener: ConnectionListener): TransportConnection {
    return new SocketConnection(this.#url, this.environment, credentials, listener);
  }
}

class SocketConnection implements TransportConnection {
  readonly #socket: WebSocket;
  readonly #pending = new Map<number, PendingRequest>();
  #lastId = 0;
  /** The longest pause between two packets while the gateway pings. */
  #silenceMs = CONNECT_MS;
  #silenceTimer: Timer | undefined;
  #byeMs: number | undefined;
  #hasEnded = false;

  constructor(
    url: string,
    private readonly environment: Environment,
    private readonly credentials: Credentials,
    private readonly listener: ConnectionListener,
  ) {
    const Socket = environment.WebSocket!;
    this.#socket = new Socket(url);
    this.#socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (typeof data === 'string' && !this.#hasEnded) this.#receive(data);
    };
    this.#socket.onclose = () => this.#end({});
    // `close` follows, and reports the failure.
    this.#socket.onerror = () => undefined;
    this.#expectPacketWithin(CONNECT_MS);
  }

  subscribe(
    posts: readonly string[],
    known: ReadonlyMap<string, KnownVersion>,
    present: boolean,
  ): Promise<SubscribeResult | Failure> {
    const versions = known.size > 0 && { known: Object.fromEntries(known) };
    return this.#request('subscribe', { posts, ...versions, ...(!present && { present }) });
  }

  unsubscribe(posts: readonly string[]): void {
    this.#send(`${EVENT}${JSON.stringify(['unsubscribe', { posts }])}`);
  }

  operate({ seq, post, metric, value }: ClientOperation): Promise<Acknowledgement | Failure> {
    if (typeof value === 'boolean') return this.#request('set', { post, metric, on: value, seq });
    return this.#request('add', { post, metric, by: value, seq });
  }

  close(): void {
    this.#stop();
  }

  #request<Answer>(event: string, payload: object): Promise<Answer> {
    if (this.#hasEnded) return Promise.reject(new Error('the connection has ended'));
    const id = ++this.#lastId;
    return new Promise<Answer>((resolve, reject) => {
      const deadline = this.environment.clock.after(ACK_TIMEOUT_MS, () => this.#end({}));
      this.#pending.set(id, { resolve, reject, deadline });
      this.#send(`${EVENT}${id}${JSON.stringify([event, payload])}`);
    });
  }

  #send(packet: string): void {
    if (!this.#hasEnded && this.#socket.readyState === this.#socket.OPEN) this.#socket.send(packet);
  }

  #receive(packet: string): void {
    this.#expectPacketWithin(this.#silenceMs);
    const kind = packet.startsWith('4') ? packet.slice(0, 2) : packet.slice(0, 1);
    const rest = packet.slice(kind.length);
    if (kind === PING) this.#send(PONG);
    else if (kind === OPEN) this.#sendCredentials(rest);
    else if (kind === CONNECTED) this.listener.opened();
    else if (kind === EVENT) this.#receiveEvent(JSON.parse(rest) as GatewayEvent);
    else if (kind === ACKNOWLEDGEMENT) this.#resolveRequest(rest);
    else if (kind === CONNECT_ERROR) this.#rejected(JSON.parse(rest) as { data?: ErrorBody });
    else if (kind === DISCONNECTED) this.#end({});
  }

  #sendCredentials(text: string): void {
    const { pingInterval, pingTimeout } = JSON.parse(text) as { pingInterval: number; pingTimeout: number };
    this.#silenceMs = pingInterval + pingTimeout;
    this.#send(`${CONNECTED}${JSON.stringify(this.credentials)}`);
  }

  #receiveEvent(event: GatewayEvent | ['bye', ByeEvent]): void {
    if (event[0] === 'bye') this.#byeMs = event[1].retryAfterMs;
    else this.#deliver(() => this.listener.received(event));
  }

  /**
   * Delivers an event after the acknowledgements before it, which resolve promises. A browser runs a task for each message, but
   * `ws` in Node.js emits all messages of one read in one.
   */
  #deliver(event: () => void): void {
    queueMicrotask(() => {
      if (!this.#hasEnded) event();
    });
  }

  #resolveRequest(text: string): void {
    const start = text.indexOf('[');
    const id = Number(text.slice(0, start));
    const waiting = this.#pending.get(id);
    if (!waiting) return;
    this.#pending.delete(id);
    waiting.deadline.cancel();
    const [answer] = JSON.parse(text.slice(start)) as [never];
    waiting.resolve(answer);
  }

  #rejected({ data }: { data?: ErrorBody }): void {
    this.#end(data ? { error: data } : {});
  }

  /** Takes the connection for lost if no packet arrives for this long. */
  #expectPacketWithin(ms: number): void {
    this.#silenceTimer?.cancel();
    this.#silenceTimer = this.environment.clock.after(ms, () => this.#end({}));
  }

  #end(ending: CloseReason): void {
    if (this.#hasEnded) return;
    this.#stop();
    this.listener.closed(this.#byeMs === undefined ? ending : { ...ending, retryAfterMs: this.#byeMs });
  }

  #stop(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#silenceTimer?.cancel();
    this.#socket.close();
    for (const { reject, deadline } of this.#pending.values()) {
      deadline.cancel();
      reject(new Error('the connection ended before the acknowledgement arrived'));
    }
    this.#pending.clear();
  }
}
