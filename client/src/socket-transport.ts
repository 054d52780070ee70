import type { ErrorBody } from '../../src/protocol/errors.js';
import type { ByeEvent, Failure, MineEvent, Update } from '../../src/protocol/messages.js';
import type { Environment, Timer } from './environment.js';
import {
  type Acknowledgement,
  ACK_TIMEOUT_MS,
  type TransportConnection,
  type ConnectionListener,
  type Credentials,
  type CloseReason,
  type KnownVersion,
  type ClientOperation,
  type SubscribeResult,
  type Transport,
} from './transport.js';

/** Until the gateway has accepted the connection. */
const CONNECT_MS = 10_000;

/** How packets begin: Engine.IO's type, and for messages Socket.IO's behind it. */
const OPEN = '0';
const PING = '2';
const PONG = '3';
const CONNECTED = '40';
const DISCONNECTED = '41';
const EVENT = '42';
const ANSWER = '43';
const REFUSED = '44';

interface Waiting {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
  readonly deadline: Timer;
}

/**
 * Socket.IO over a WebSocket, as much of it as the gateway speaks to us: one namespace, JSON, no binary. Written out
 * rather than taken from socket.io-client, which is 13 kB of the 20 a page is asked to load, two thirds of them for
 * long-polling and for reconnecting in a way that has to be switched off here: it knows nothing of `bye` and
 * `retryAfterMs`, and sends what was emitted while disconnected before older operations can be sent again.
 * https://github.com/socketio/engine.io-protocol, https://github.com/socketio/socket.io-protocol
 */
export class SocketTransport implements Transport {
  readonly kind = 'socket';
  readonly #url: string;

  constructor(
    origin: string,
    private readonly environment: Environment,
  ) {
    this.#url = `${origin.replace(/^http/, 'ws')}/socket.io/?EIO=4&transport=websocket`;
  }

  connect(credentials: Credentials, listener: ConnectionListener): TransportConnection {
    return new SocketConnection(this.#url, this.environment, credentials, listener);
  }
}

class SocketConnection implements TransportConnection {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  /** The longest silence that the gateway's pings leave. */
  #silenceMs = CONNECT_MS;
  #watch: Timer | undefined;
  #byeMs: number | undefined;
  #ended = false;

  constructor(
    url: string,
    private readonly environment: Environment,
    private readonly credentials: Credentials,
    private readonly listener: ConnectionListener,
  ) {
    const Socket = environment.WebSocket!;
    this.#socket = new Socket(url);
    this.#socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (typeof data === 'string' && !this.#ended) this.#take(data);
    };
    this.#socket.onclose = () => this.#end({});
    // What it is comes with `close`.
    this.#socket.onerror = () => undefined;
    this.#listenFor(CONNECT_MS);
  }

  subscribe(posts: readonly string[], known: ReadonlyMap<string, KnownVersion>): Promise<SubscribeResult | Failure> {
    return this.#ask('subscribe', known.size === 0 ? { posts } : { posts, known: Object.fromEntries(known) });
  }

  unsubscribe(posts: readonly string[]): void {
    this.#send(`${EVENT}${JSON.stringify(['unsubscribe', { posts }])}`);
  }

  operate({ seq, post, metric, value }: ClientOperation): Promise<Acknowledgement | Failure> {
    if (typeof value === 'boolean') return this.#ask('set', { post, metric, on: value, seq });
    return this.#ask('add', { post, metric, by: value, seq });
  }

  close(): void {
    this.#stop();
  }

  #ask<Answer>(event: string, payload: object): Promise<Answer> {
    if (this.#ended) return Promise.reject(new Error('the connection has ended'));
    const id = ++this.#lastId;
    return new Promise<Answer>((resolve, reject) => {
      const deadline = this.environment.clock.after(ACK_TIMEOUT_MS, () => this.#end({}));
      this.#waiting.set(id, { resolve, reject, deadline });
      this.#send(`${EVENT}${id}${JSON.stringify([event, payload])}`);
    });
  }

  #send(packet: string): void {
    if (!this.#ended && this.#socket.readyState === this.#socket.OPEN) this.#socket.send(packet);
  }

  #take(packet: string): void {
    this.#listenFor(this.#silenceMs);
    const kind = packet.startsWith('4') ? packet.slice(0, 2) : packet.slice(0, 1);
    const rest = packet.slice(kind.length);
    if (kind === PING) this.#send(PONG);
    else if (kind === OPEN) this.#greet(rest);
    else if (kind === CONNECTED) this.listener.opened();
    else if (kind === EVENT) this.#event(JSON.parse(rest) as [string, unknown]);
    else if (kind === ANSWER) this.#answer(rest);
    else if (kind === REFUSED) this.#refused(JSON.parse(rest) as { data?: ErrorBody });
    else if (kind === DISCONNECTED) this.#end({});
  }

  #greet(text: string): void {
    const { pingInterval, pingTimeout } = JSON.parse(text) as { pingInterval: number; pingTimeout: number };
    this.#silenceMs = pingInterval + pingTimeout;
    this.#send(`${CONNECTED}${JSON.stringify(this.credentials)}`);
  }

  #event([name, payload]: [string, unknown]): void {
    if (name === 'counts') this.listener.counts(payload as Update[]);
    else if (name === 'mine') this.listener.mine(payload as MineEvent);
    else if (name === 'bye') this.#byeMs = (payload as ByeEvent).retryAfterMs;
  }

  #answer(text: string): void {
    const start = text.indexOf('[');
    const id = Number(text.slice(0, start));
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    waiting.deadline.cancel();
    const [answer] = JSON.parse(text.slice(start)) as [never];
    waiting.resolve(answer);
  }

  #refused({ data }: { data?: ErrorBody }): void {
    this.#end(data ? { error: data } : {});
  }

  /** Silence for this long means that the connection is gone, though nothing says so. */
  #listenFor(ms: number): void {
    this.#watch?.cancel();
    this.#watch = this.environment.clock.after(ms, () => this.#end({}));
  }

  #end(ending: CloseReason): void {
    if (this.#ended) return;
    this.#stop();
    this.listener.closed(this.#byeMs === undefined ? ending : { ...ending, retryAfterMs: this.#byeMs });
  }

  #stop(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#watch?.cancel();
    this.#socket.close();
    for (const { reject, deadline } of this.#waiting.values()) {
      deadline.cancel();
      reject(new Error('the connection ended before the answer came'));
    }
    this.#waiting.clear();
  }
}
