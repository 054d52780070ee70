import WebSocket from 'ws';
import type { Random } from './random.js';

/** Whoever uses a connection. It is told of the same connection again after each reconnect. */
export interface ConnectionUser {
  /** It may send. */
  connected(): void;
  /** Nothing that was sent will be answered any more. A new connection is on its way. */
  disconnected(): void;
  /** A `counts` event, as it came. */
  counts(frame: Buffer): void;
  /** The answer to what was sent with this id: a packet whose body begins at `from`. */
  answered(id: number, packet: Buffer, from: number): void;
}

/** What all connections of a thread have seen. */
export interface Traffic {
  bytes: number;
  /** By code: refusals, lost connections, failures to connect. */
  errors: Map<string, number>;
  /** The gateway will never take this: a line for the user. */
  fatal(message: string): void;
}

interface WireError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
}

export type { WireError };

const OPENING_MAX_MS = 10_000;
const RECONNECT_FIRST_MS = 100;
const RECONNECT_MAX_MS = 5_000;
const MESSAGE_BYTES_MAX = 2 ** 20;

const OPEN = 0x30;
const CLOSE = 0x31;
const PING = 0x32;
const MESSAGE = 0x34;
const CONNECTED = 0x30;
const DISCONNECTED = 0x31;
const EVENT = 0x32;
const ANSWER = 0x33;
const REFUSED = 0x34;
/** Where an event's name begins in `42["counts",…]`. */
const NAME_AT = 4;
const LETTER_B = 0x62;
const LETTER_C = 0x63;
const DIGIT_0 = 0x30;

/**
 * A client of Socket.IO v4, reduced to what a viewer or an actor needs: namespace `/`, WebSocket only, text only. The
 * framing is written by hand, so that a frame costs little more than what `ws` takes. It comes back by itself, with a
 * growing pause.
 * https://github.com/socketio/engine.io-protocol (version 4), https://github.com/socketio/socket.io-protocol (version 5)
 */
export class Connection {
  #socket: WebSocket | null = null;
  /** It ends a connection that does not open, or where pings stay out. */
  #silence: NodeJS.Timeout | null = null;
  #retry: NodeJS.Timeout | null = null;
  #failures = 0;
  #isConnected = false;
  #closed = false;
  /** By a `bye`: the pause before the next attempt. */
  #comeBackMs: number | null = null;

  constructor(
    private readonly url: string,
    private readonly auth: object,
    private readonly user: ConnectionUser,
    private readonly traffic: Traffic,
    private readonly random: Random,
  ) {}

  open(): void {
    const socket = new WebSocket(`${this.url.replace(/^http/, 'ws')}/socket.io/?EIO=4&transport=websocket`, {
      perMessageDeflate: false,
      skipUTF8Validation: true,
      maxPayload: MESSAGE_BYTES_MAX,
      handshakeTimeout: OPENING_MAX_MS,
      // A mask of zeros is left as it is, and ws saves the work. Masks guard caches against scripts in browsers.
      generateMask: (mask) => mask.fill(0),
    });
    this.#socket = socket;
    this.#silence = setTimeout(() => socket.terminate(), OPENING_MAX_MS);
    socket.on('message', (data) => this.#receive(data as Buffer));
    socket.on('error', (error) => this.#failed(error));
    socket.on('close', () => this.#ended());
  }

  /** Only while connected. */
  send(packet: string): void {
    this.#socket?.send(packet);
  }

  /** For good. */
  close(): void {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#socket?.close();
  }

  #receive(data: Buffer): void {
    this.traffic.bytes += data.length;
    try {
      this.#take(data);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#count('not JSON');
    }
  }

  #take(data: Buffer): void {
    if (data[0] === MESSAGE) {
      if (data[1] === EVENT) this.#event(data);
      else if (data[1] === ANSWER) this.#answer(data);
      else this.#control(data);
    } else if (data[0] === PING) {
      this.#silence?.refresh();
      this.send('3');
    } else if (data[0] === OPEN) this.#opened(data);
    else if (data[0] === CLOSE) this.#socket?.close();
  }

  #event(data: Buffer): void {
    if (data[NAME_AT] === LETTER_C) this.user.counts(data);
    else if (data[NAME_AT] === LETTER_B) {
      const [, bye] = JSON.parse(data.toString('utf8', 2)) as [string, { retryAfterMs: number }];
      this.#comeBackMs = bye.retryAfterMs;
      this.#count('bye');
    }
  }

  #answer(data: Buffer): void {
    let id = 0;
    let at = 2;
    for (let digit = data[at]! - DIGIT_0; digit >= 0 && digit <= 9; digit = data[++at]! - DIGIT_0) id = id * 10 + digit;
    this.user.answered(id, data, at);
  }

  #control(data: Buffer): void {
    if (data[1] === CONNECTED) {
      this.#failures = 0;
      this.#isConnected = true;
      this.user.connected();
    } else if (data[1] === REFUSED) {
      const { data: error } = JSON.parse(data.toString('utf8', 2)) as { data?: WireError };
      this.#count(error?.code ?? 'REFUSED');
      this.#comeBackMs = error?.retryAfterMs ?? null;
      if (error?.retryable === false) this.traffic.fatal(`the gateway refuses to connect: ${error.message}`);
      this.#socket?.close();
    } else if (data[1] === DISCONNECTED) this.#socket?.close();
  }

  #opened(data: Buffer): void {
    const { pingInterval, pingTimeout } = JSON.parse(data.toString('utf8', 1)) as Record<string, number>;
    if (this.#silence !== null) clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#silence = setTimeout(() => socket?.terminate(), pingInterval! + pingTimeout!);
    this.send(`40${JSON.stringify(this.auth)}`);
  }

  #failed(error: Error): void {
    const { code } = error as NodeJS.ErrnoException;
    this.#count(code ?? error.message);
  }

  #ended(): void {
    if (this.#silence !== null) clearTimeout(this.#silence);
    this.#socket = null;
    if (this.#isConnected) {
      this.#isConnected = false;
      if (!this.#closed) this.#count('disconnected');
      this.user.disconnected();
    }
    if (this.#closed) return;
    const backoffMs = Math.min(RECONNECT_MAX_MS, RECONNECT_FIRST_MS * 2 ** this.#failures++);
    const waitMs = this.#comeBackMs ?? backoffMs;
    this.#comeBackMs = null;
    // Up to half as long again, or all would come back at once.
    this.#retry = setTimeout(() => this.open(), waitMs * (1 + this.random.next() / 2));
  }

  #count(code: string): void {
    const { errors } = this.traffic;
    errors.set(code, (errors.get(code) ?? 0) + 1);
  }
}
