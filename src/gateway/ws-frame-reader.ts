import type { Socket as TcpSocket } from 'node:net';
import type { Socket } from 'socket.io';
import { FRAME_BYTES_PER_UNIT } from '../access/message-budget.js';
import { type WebSocket, findWebSocket } from './transport/direct-socket.js';
import type { DeferredInput, Intake } from './intake.js';
import type { Shortcut } from './transport/shortcut.js';

type EngineSocket = Socket['conn'];

/** The parts of `ws` and Engine.IO that are looked at here. They keep them private in their types. */
interface WebSocketReceiver {
  readonly _state: number;
  readonly _bufferedBytes: number;
  readonly _fragmented: number;
}
interface EngineState {
  readonly readyState: string;
  /** Set while a ping is unanswered: what comes then, Engine.IO wants to know of. */
  readonly pingTimeoutTimer: unknown;
}
type Listener<A extends unknown[]> = (this: TcpSocket, ...args: A) => void;

/** `ws` waits for the first byte of a frame. */
const GET_INFO = 0;
const OPEN = 1;
/** RFC 6455, section 5.2: the first byte of a text frame that is a whole message, … */
const WHOLE_TEXT = 0x81;
/** … the bit of the second that says a client's bytes are masked, and the length that says that two bytes of it follow. */
const MASKED = 0x80;
const LENGTH_16 = 126;
const MASK_BYTES = 4;
/** An Engine.IO message; other packets are Engine.IO's own. */
const MESSAGE = 0x34;
/** Frames of one connection that are taken in a turn of the event loop; the next ones are in the turn after it. */
const FRAMES_A_TURN = 64;
/** Bytes that `ws` is given in a turn: some 170 pings, the smallest frames that it answers. */
const BYTES_A_TURN = 1_024;

/**
 * Takes the messages of a connection where TCP brings them: what most frames are, whole, short, ASCII, is handed to
 * Socket.IO's client at once. That saves the queues and events of `ws` and Engine.IO, which cost more than all that is
 * done with an operation until it waits for its batch. Everything else goes their way, in its order; and so does all,
 * once something of them is not as expected.
 */
export function readFrames(connection: EngineSocket, shortcut: Shortcut, intake: Intake): void {
  const webSocket = findWebSocket(connection.transport);
  if (!shortcut.isOn) return;
  if (connection.transport.name === 'polling') {
    connection.once('upgrade', () => readFrames(connection, shortcut, intake));
    return;
  }
  if (webSocket === undefined) return;
  try {
    const { extensions, readyState, _socket: tcp } = webSocket;
    if (extensions !== '' || readyState !== OPEN || connection.readyState !== 'open' || tcp === null) return;
    install(connection, webSocket, tcp, shortcut, intake);
  } catch (error) {
    shortcut.disable(error);
  }
}

function install(
  connection: EngineSocket,
  webSocket: WebSocket,
  tcp: TcpSocket,
  shortcut: Shortcut,
  intake: Intake,
): void {
  const { _receiver: receiver } = webSocket as WebSocket & { readonly _receiver?: WebSocketReceiver };
  if (receiver === undefined) throw new Error('ws has no _receiver');
  const readers = tcp.listeners('data') as Listener<[Buffer]>[];
  const takers = connection.listeners('data') as ((message: string) => void)[];
  if (readers.length !== 1) throw new Error(`the socket has ${readers.length} readers`);
  if (takers.length !== 1) throw new Error(`Engine.IO's socket has ${takers.length} readers`);
  const reader = new FrameReader(connection, webSocket, receiver, tcp, takers[0]!, readers[0]!, shortcut, intake);
  // Something has come already, and `ws` has a part of it.
  if (!reader.isBetweenMessages()) return;
  tcp.removeListener('data', readers[0]!);
  intake.deferredBytes = reader;
  tcp.on('data', (chunk: Buffer) => reader.read(chunk));
}

class FrameReader implements DeferredInput {
  private readonly connection: EngineState;
  /** Bytes that were read and not taken yet: a view of what TCP brought at once, not a copy. */
  #rest: Buffer | null = null;

  constructor(
    connection: EngineSocket,
    private readonly webSocket: WebSocket,
    private readonly receiver: WebSocketReceiver,
    private readonly tcp: TcpSocket,
    private readonly take: (message: string) => void,
    private readonly otherwise: Listener<[Buffer]>,
    private readonly shortcut: Shortcut,
    private readonly intake: Intake,
  ) {
    this.connection = connection as unknown as EngineState;
  }

  get hasDeferred(): boolean {
    return this.#rest !== null;
  }

  read(chunk: Buffer): void {
    // `ws` itself takes what a paused stream had buffered when it ended.
    if (this.tcp.destroyed) return;
    // A paused stream may have buffered more already.
    if (this.#rest !== null || this.intake.isBlocked) this.#keep(chunk);
    else this.#readSome(chunk);
  }

  handleSome(): void {
    const rest = this.#rest;
    this.#rest = null;
    // `ws` has forgotten a socket that is closed.
    if (rest !== null && !this.tcp.destroyed) this.#readSome(rest);
  }

  #readSome(chunk: Buffer): void {
    let at = 0;
    let frames = FRAMES_A_TURN;
    if (this.isBetweenMessages()) {
      for (let next = this.#takeAt(chunk, at); next > at; next = this.#takeAt(chunk, at)) {
        at = next;
        if ((frames -= 1) > 0 && !this.intake.isBlocked) continue;
        if (at < chunk.length) this.#keep(chunk.subarray(at));
        return;
      }
    }
    if (at === chunk.length) return;
    const end = Math.min(at + BYTES_A_TURN, chunk.length);
    // Paid by the bytes: a connection that is closing is still read, and none of its frames is a message any more.
    this.intake.spend((end - at) / FRAME_BYTES_PER_UNIT);
    if (end < chunk.length) this.#keep(chunk.subarray(end));
    this.otherwise.call(this.tcp, at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end));
  }

  #keep(rest: Buffer): void {
    this.#rest = this.#rest === null ? rest : Buffer.concat([this.#rest, rest]);
    this.intake.deferRest();
  }

  /** Whether `ws` holds no part of a frame or of a message. Never throws. */
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

  /** @returns where the next frame begins; `start` if this one is not to be taken here */
  #takeAt(chunk: Buffer, start: number): number {
    if (chunk[start] !== WHOLE_TEXT || !this.#isOpen()) return start;
    let length = chunk[start + 1]! - MASKED;
    let mask = start + 2;
    if (length === LENGTH_16) {
      length = (chunk[start + 2]! << 8) | chunk[start + 3]!;
      mask += 2;
    } else if (length > LENGTH_16) return start;
    const from = mask + MASK_BYTES;
    const end = from + length;
    // Without a mask the length is below 0, and with the frame's second byte still on its way it is none.
    if (!(length > 1 && end <= chunk.length) || (chunk[from]! ^ chunk[mask]!) !== MESSAGE) return start;
    if (unmask(chunk, mask, from, end) > 0x7f) {
      unmask(chunk, mask, from, end);
      return start;
    }
    this.take(chunk.toString('latin1', from + 1, end));
    return end;
  }

  /** Whether the connection takes messages and waits for no answer to a ping. Never throws. */
  #isOpen(): boolean {
    const { connection, webSocket } = this;
    try {
      const { pingTimeoutTimer } = connection;
      if (typeof pingTimeoutTimer !== 'object') throw new Error('Engine.IO has no pingTimeoutTimer');
      return connection.readyState === 'open' && pingTimeoutTimer === null && webSocket.readyState === OPEN;
    } catch (error) {
      this.shortcut.disable(error);
      return false;
    }
  }
}

/** In place; twice leaves it as it was. @returns all bits of the result together */
function unmask(chunk: Buffer, mask: number, from: number, end: number): number {
  let bits = 0;
  for (let i = from; i < end; i++) {
    const byte = chunk[i]! ^ chunk[mask + ((i - from) & 3)]!;
    chunk[i] = byte;
    bits |= byte;
  }
  return bits;
}
