import type { Socket as TcpSocket } from 'node:net';
import {
  type EngineSocket,
  findWebSocket,
  readPingTimer,
  WEB_SOCKET_OPEN,
  type WebSocketInternals,
  type WebSocketReceiver,
} from './engine-internals.js';
import type { DeferredInput, ReaderLimits } from './reader-limits.js';
import type { Shortcut } from './shortcut.js';

type Listener<A extends unknown[]> = (this: TcpSocket, ...args: A) => void;

/** The state in which `ws` waits for the first byte of a frame. */
const GET_INFO = 0;
/** RFC 6455, section 5.2: the first byte of a text frame that is a whole message. */
const WHOLE_TEXT = 0x81;
/** The bit of the second byte that marks a client's bytes as masked. */
const MASKED = 0x80;
/** The length that stands for a length in the next two bytes. */
const LENGTH_16 = 126;
const MASK_BYTES = 4;
/** The first character of an Engine.IO message. Other packets are Engine.IO's own. */
const MESSAGE = 0x34;
/** Frames of one connection that are handled in a turn of the event loop. The next ones wait for the next turn. */
const FRAMES_A_TURN = 64;
/** Bytes that `ws` is given in a turn: some 170 pings, the smallest frames that it answers. */
const BYTES_A_TURN = 1_024;

/**
 * Reads a WebSocket's messages from its TCP socket, at once or after the upgrade. Most frames are whole, short and ASCII:
 * they go straight to Socket.IO's client. That saves the queues and events of `ws` and Engine.IO, which cost more than
 * all work for an operation until it waits for its batch. Other frames go to `ws`, in order, and so do all frames once
 * one of these internals is not as expected.
 */
export function readFrames(connection: EngineSocket, shortcut: Shortcut, limits: ReaderLimits): void {
  if (!shortcut.isOn) return;
  if (connection.transport.name === 'polling') {
    connection.once('upgrade', () => readFrames(connection, shortcut, limits));
    return;
  }
  const webSocket = findWebSocket(connection.transport);
  if (webSocket === undefined) return;
  try {
    const { extensions, readyState, _socket: tcp } = webSocket;
    if (extensions !== '' || readyState !== WEB_SOCKET_OPEN || connection.readyState !== 'open' || tcp === null) return;
    install(connection, webSocket, tcp, shortcut, limits);
  } catch (error) {
    shortcut.disable(error);
  }
}

function install(
  connection: EngineSocket,
  webSocket: WebSocketInternals,
  tcp: TcpSocket,
  shortcut: Shortcut,
  limits: ReaderLimits,
): void {
  const { _receiver: receiver } = webSocket;
  if (receiver === undefined) throw new Error('ws has no _receiver');
  const readers = tcp.listeners('data') as Listener<[Buffer]>[];
  const handlers = connection.listeners('data') as ((message: string) => void)[];
  if (readers.length !== 1) throw new Error(`the socket has ${readers.length} readers`);
  if (handlers.length !== 1) throw new Error(`Engine.IO's socket has ${handlers.length} readers`);
  const reader = new WsFrameReader(connection, webSocket, receiver, tcp, handlers[0]!, readers[0]!, shortcut, limits);
  // Some bytes have arrived already, and `ws` has a part of a frame.
  if (!reader.isBetweenMessages()) return;
  tcp.removeListener('data', readers[0]!);
  limits.deferredBytes = reader;
  tcp.on('data', (chunk: Buffer) => reader.read(chunk));
}

class WsFrameReader implements DeferredInput {
  /** Bytes that were read and not handled yet: a view of the chunk from TCP, not a copy. */
  #rest: Buffer | null = null;

  constructor(
    private readonly connection: EngineSocket,
    private readonly webSocket: WebSocketInternals,
    private readonly receiver: WebSocketReceiver,
    private readonly tcp: TcpSocket,
    private readonly handle: (message: string) => void,
    private readonly passToWs: Listener<[Buffer]>,
    private readonly shortcut: Shortcut,
    private readonly limits: ReaderLimits,
  ) {}

  get hasDeferred(): boolean {
    return this.#rest !== null;
  }

  read(chunk: Buffer): void {
    // `ws` itself handles what a paused stream had buffered when it ended.
    if (this.tcp.destroyed) return;
    // A paused stream may have buffered more before it was paused.
    if (this.#rest !== null || this.limits.isBlocked) this.#keep(chunk);
    else this.#readSome(chunk);
  }

  handleSome(): void {
    const rest = this.#rest;
    this.#rest = null;
    // `ws` has released the state of a closed socket.
    if (rest !== null && !this.tcp.destroyed) this.#readSome(rest);
  }

  #readSome(chunk: Buffer): void {
    let at = 0;
    let frames = FRAMES_A_TURN;
    if (this.isBetweenMessages()) {
      for (let next = this.#handleAt(chunk, at); next > at; next = this.#handleAt(chunk, at)) {
        at = next;
        if ((frames -= 1) > 0 && !this.limits.isBlocked) continue;
        if (at < chunk.length) this.#keep(chunk.subarray(at));
        return;
      }
    }
    if (at === chunk.length) return;
    const end = Math.min(at + BYTES_A_TURN, chunk.length);
    // Charged by bytes: a closing connection is still read, and none of its frames counts as a message any more.
    this.limits.spendBytes(end - at);
    if (end < chunk.length) this.#keep(chunk.subarray(end));
    this.passToWs.call(this.tcp, at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end));
  }

  #keep(rest: Buffer): void {
    this.#rest = this.#rest === null ? rest : Buffer.concat([this.#rest, rest]);
    this.limits.deferRest();
  }

  /** Whether `ws` has no part of a frame or of a message. Never throws. */
  isBetweenMessages(): boolean {
    if (!this.shortcut.isOn) return false;
    try {
      const { _state, _bufferedBytes, _fragmented } = this.receiver;
      if (_state === GET_INFO && _bufferedBytes === 0 && _fragmented === 0) return true;
      if ([_state, _bufferedBytes, _fragmented].every((one) => typeof one === 'number')) return false;
      throw new Error('the receiver of ws has no state');
    } catch (error) {
      this.shortcut.disable(error);
      return false;
    }
  }

  /** Handles the frame at `start`. @returns where the next one begins; `start` if the frame is for `ws` */
  #handleAt(chunk: Buffer, start: number): number {
    if (chunk[start] !== WHOLE_TEXT || !this.#isOpen()) return start;
    let length = chunk[start + 1]! - MASKED;
    let mask = start + 2;
    if (length === LENGTH_16) {
      length = (chunk[start + 2]! << 8) | chunk[start + 3]!;
      mask += 2;
    } else if (length > LENGTH_16) return start;
    const from = mask + MASK_BYTES;
    const end = from + length;
    // Without a mask the length is negative, and without the frame's second byte it is NaN.
    if (!(length > 1 && end <= chunk.length) || (chunk[from]! ^ chunk[mask]!) !== MESSAGE) return start;
    if (unmask(chunk, mask, from, end) > 0x7f) {
      unmask(chunk, mask, from, end);
      return start;
    }
    this.handle(chunk.toString('latin1', from + 1, end));
    return end;
  }

  /** Whether the connection accepts messages and no ping is unanswered, because Engine.IO must see the answer. Never throws. */
  #isOpen(): boolean {
    const { connection, webSocket } = this;
    try {
      const pingTimer = readPingTimer(connection);
      if (typeof pingTimer !== 'object') throw new Error('Engine.IO has no pingTimeoutTimer');
      return connection.readyState === 'open' && pingTimer === null && webSocket.readyState === WEB_SOCKET_OPEN;
    } catch (error) {
      this.shortcut.disable(error);
      return false;
    }
  }
}

/** Unmasks in place; a second call masks again. @returns the bitwise OR of all resulting bytes */
function unmask(chunk: Buffer, mask: number, from: number, end: number): number {
  let bits = 0;
  for (let i = from; i < end; i++) {
    const byte = chunk[i]! ^ chunk[mask + ((i - from) & 3)]!;
    chunk[i] = byte;
    bits |= byte;
  }
  return bits;
}
