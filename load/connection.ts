import WebSocket from 'ws';
import type { Random } from './random.js';

/** The user of a connection. `connected` is called again after each reconnect. */
export interface ConnectionUser {
  /** The user may send from now on. */
  connected(): void;
  /** Earlier packets will not be answered any more. The connection reconnects by itself. */
  disconnected(): void;
  /** A `counts` event, unparsed. */
  counts(frame: Buffer): void;
  /** The acknowledgement with this id: a packet whose body begins at `from`. */
  answered(id: number, packet: Buffer, from: number): void;
}

/** Counts the traffic of all connections of a thread. */
export interface Traffic {
  bytes: number;
  /** Keyed by code: errors of the gateway, lost connections, failures to connect. */
  errors: Map<string, number>;
  /** Ends the run with one line for the user, because a retry cannot succeed. */
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
const ACKNOWLEDGEMENT = 0x33;
const CONNECT_ERROR = 0x34;
/** Index of the event's name in `42["counts",…]`. */
const NAME_INDEX = 4;
const LETTER_B = 0x62;
const LETTER_C = 0x63;
const DIGIT_0 = 0x30;

/**
 * A minimal client of Socket.IO v4: namespace `/`, WebSocket only, text only. Its framing is hand-written, so that a frame
 * costs little more than in `ws`. It reconnects by itself with a growing pause.
 * https://github.com/socketio/engine.io-protocol (version 4), https://github.com/socketio/socket.io-protocol (version 5)
 */
export class Connection {
  #socket: WebSocket | null = null;
  /** Ends a connection that does not open or gets no pings. */
  #silence: NodeJS.Timeout | null = null;
  #retry: NodeJS.Timeout | null = null;
  #failures = 0;
  #isConnected = false;
  #isClosed = false;
  /** The gateway's pause before the next attempt, from a `bye` or an error. */
  #retryAfterMs: number | null = null;

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
      // With a mask of zeros ws need not copy. Masks protect caches from scripts in browsers, which are not used here.
      generateMask: (mask) => mask.fill(0),
    });
    this.#socket = socket;
    this.#silence = setTimeout(() => socket.terminate(), OPENING_MAX_MS);
    socket.on('message', (data) => this.#receive(data as Buffer));
    socket.on('error', (error) => this.#failed(error));
    socket.on('close', () => this.#ended());
  }

  /** Must be called only while connected. */
  send(packet: string): void {
    this.#socket?.send(packet);
  }

  /** Closes without a reconnect. */
  close(): void {
    this.#isClosed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#socket?.close();
  }

  #receive(data: Buffer): void {
    this.traffic.bytes += data.length;
    try {
      this.#handlePacket(data);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#count('not JSON');
    }
  }

  #handlePacket(data: Buffer): void {
    if (data[0] === MESSAGE) {
      if (data[1] === EVENT) this.#event(data);
      else if (data[1] === ACKNOWLEDGEMENT) this.#answer(data);
      else this.#control(data);
    } else if (data[0] === PING) {
      this.#silence?.refresh();
      this.send('3');
    } else if (data[0] === OPEN) this.#opened(data);
    else if (data[0] === CLOSE) this.#socket?.close();
  }

  #event(data: Buffer): void {
    if (data[NAME_INDEX] === LETTER_C) this.user.counts(data);
    else if (data[NAME_INDEX] === LETTER_B) {
      const [, bye] = JSON.parse(data.toString('utf8', 2)) as [string, { retryAfterMs: number }];
      this.#retryAfterMs = bye.retryAfterMs;
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
    } else if (data[1] === CONNECT_ERROR) {
      const { data: error } = JSON.parse(data.toString('utf8', 2)) as { data?: WireError };
      this.#count(error?.code ?? 'REFUSED');
      this.#retryAfterMs = error?.retryAfterMs ?? null;
      if (error?.retryable === false) this.traffic.fatal(`the gateway rejects the connection: ${error.message}`);
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
      if (!this.#isClosed) this.#count('disconnected');
      this.user.disconnected();
    }
    if (this.#isClosed) return;
    const backoffMs = Math.min(RECONNECT_MAX_MS, RECONNECT_FIRST_MS * 2 ** this.#failures++);
    const waitMs = this.#retryAfterMs ?? backoffMs;
    this.#retryAfterMs = null;
    // Up to half as long again, so that connections do not all return at once.
    this.#retry = setTimeout(() => this.open(), waitMs * (1 + this.random.next() / 2));
  }

  #count(code: string): void {
    const { errors } = this.traffic;
    errors.set(code, (errors.get(code) ?? 0) + 1);
  }
}
