import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import type { Socket } from 'node:net';

/** https://datatracker.ietf.org/doc/html/rfc6455#section-5.2 */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A mask of zeros is valid, and keeps the payload readable in a dump. */
const ZEROS = Buffer.alloc(4);

interface FrameOptions {
  readonly opcode?: number;
  readonly fin?: boolean;
  /** Marks the frame as compressed. */
  readonly rsv1?: boolean;
  readonly masked?: boolean;
  /** Four bytes. */
  readonly mask?: Buffer;
  /** The length in the header, if it differs from the payload's. */
  readonly length?: number;
}

/** A WebSocket frame, valid or not. */
export function encodeFrame(payload: string | Buffer, options: FrameOptions = {}): Buffer {
  const { opcode = OPCODE.text, fin = true, rsv1 = false, masked = true, mask } = options;
  const data = Buffer.from(payload);
  const { length = data.length } = options;
  const head = Buffer.alloc(10);
  head[0] = (fin ? 0x80 : 0) | (rsv1 ? 0x40 : 0) | opcode;
  const maskBit = masked ? 0x80 : 0;
  let headBytes = 2;
  if (length < 126) head[1] = maskBit | length;
  else if (length < 2 ** 16) {
    head[1] = maskBit | 126;
    headBytes = head.writeUInt16BE(length, 2);
  } else {
    head[1] = maskBit | 127;
    headBytes = head.writeBigUInt64BE(BigInt(length), 2);
  }
  if (!masked) return Buffer.concat([head.subarray(0, headBytes), data]);
  if (mask === undefined) return Buffer.concat([head.subarray(0, headBytes), ZEROS, data]);
  return Buffer.concat([head.subarray(0, headBytes), mask, data.map((byte, i) => byte ^ mask[i & 3]!)]);
}

interface PendingMessage {
  readonly wanted: (message: string) => boolean;
  readonly resolve: (message: string) => void;
  readonly reject: (reason: Error) => void;
}

/**
 * A cheap WebSocket that can send any bytes and stop reading. Callers write Engine.IO and Socket.IO packets themselves.
 * https://socket.io/docs/v4/engine-io-protocol/
 */
export class RawSocket {
  /** Resolves with the close code, or `null` when the connection ended without one. */
  readonly closed: Promise<number | null>;
  /** Called with each Socket.IO packet, without the Engine.IO type before it. */
  onPacket: (packet: string) => void = () => undefined;
  answersPings = true;
  /** Whether it answers a close frame and ends its side. */
  answersClose = true;
  #unread: Buffer;
  #waiting: PendingMessage[] = [];
  #code: number | null = null;
  #acknowledgements = 0;
  #ponged: (payload: string) => void = () => undefined;

  private constructor(
    readonly socket: Socket,
    head: Buffer,
  ) {
    this.#unread = head;
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        for (const { reject } of this.#waiting.splice(0)) reject(new Error(`closed with ${this.#code ?? 'no code'}`));
        resolve(this.#code);
      });
    });
    // A reset connection is an expected outcome, reported by `closed`.
    socket.on('error', () => undefined);
    socket.on('data', (data: Buffer) => {
      this.#unread = this.#unread.length === 0 ? data : Buffer.concat([this.#unread, data]);
      this.#readFrames();
    });
    // Bytes may have arrived right behind the upgrade.
    this.#readFrames();
  }

  /** Opens a WebSocket without Socket.IO. It offers compression, which the gateway must not accept. */
  static async open(
    origin: string,
    path = '/socket.io/?EIO=4&transport=websocket',
    more: Record<string, string> = {},
  ): Promise<RawSocket> {
    const headers = {
      ...more,
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
      'Sec-WebSocket-Extensions': 'permessage-deflate',
    };
    return new Promise((resolve, reject) => {
      request(`${origin}${path}`, { headers, agent: false })
        .on('upgrade', (_response, socket: Socket, head: Buffer) => resolve(new RawSocket(socket, head)))
        .on('response', ({ statusCode }) => reject(new Error(`answered ${statusCode ?? '?'}`)))
        .on('error', reject)
        .end();
    });
  }

  /** Opens a WebSocket and a Socket.IO socket in the namespace `/`. */
  static async connect(origin: string, auth = '', headers: Record<string, string> = {}): Promise<RawSocket> {
    const raw = await RawSocket.open(origin, undefined, headers);
    const connected = raw.nextMessage((text) => text.startsWith('40'));
    raw.send(`40${auth}`);
    await connected;
    return raw;
  }

  /** Sends a packet of Engine.IO. */
  send(packet: string): void {
    this.write(encodeFrame(packet));
  }

  /** Emits without requesting an acknowledgement. */
  emit(event: string, payload: object): void {
    this.send(`42${JSON.stringify([event, payload])}`);
  }

  write(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  /** Resolves when the kernel has taken the bytes, or the connection has ended. */
  flushed(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => this.socket.write(bytes, () => resolve()));
  }

  /** Resolves with the payload of the next pong. */
  nextPong(): Promise<string> {
    return new Promise((resolve) => (this.#ponged = resolve));
  }

  /** Resolves with the next message for which `wanted` is true; rejects if the connection closes before. */
  nextMessage(wanted: (message: string) => boolean): Promise<string> {
    if (this.socket.closed) return Promise.reject(new Error('closed'));
    return new Promise((resolve, reject) => this.#waiting.push({ wanted, resolve, reject }));
  }

  /**
   * Sends an event with an acknowledgement id and resolves with its acknowledgement. `packet` is a Socket.IO packet without
   * the Engine.IO type before it, with `#` for the id: `2#["like",{"post":"a"}]`.
   */
  async emitWithAck(packet: string, ...attachments: readonly Buffer[]): Promise<unknown> {
    const id = (this.#acknowledgements += 1);
    const answered = this.nextMessage((text) => text.startsWith(`43${id}[`));
    this.send(`4${packet.replace('#', String(id))}`);
    for (const attachment of attachments) this.write(encodeFrame(attachment, { opcode: OPCODE.binary }));
    const answer = JSON.parse((await answered).slice(`43${id}`.length)) as unknown[];
    return answer[0];
  }

  /** Stops reading: received bytes stay in the kernel. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** The gateway's frames are never fragmented or masked. */
  #readFrames(): void {
    for (;;) {
      const data = this.#unread;
      if (data.length < 2) return;
      const short = data[1]! & 0x7f;
      const headBytes = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (data.length < headBytes) return;
      const length = short < 126 ? short : short === 126 ? data.readUInt16BE(2) : Number(data.readBigUInt64BE(2));
      if (data.length < headBytes + length) return;
      this.#unread = data.subarray(headBytes + length);
      this.#handleFrame(data[0]! & 0x0f, data.subarray(headBytes, headBytes + length));
    }
  }

  #handleFrame(opcode: number, payload: Buffer): void {
    if (opcode === OPCODE.close) {
      this.#code = payload.length >= 2 ? payload.readUInt16BE() : null;
      if (this.answersClose) this.socket.end(encodeFrame(payload, { opcode }));
      return;
    }
    if (opcode === OPCODE.pong) this.#ponged(payload.toString());
    if (opcode !== OPCODE.text) return;
    const message = payload.toString();
    if (message === '2' && this.answersPings) this.send('3');
    const taken = this.#waiting.findIndex(({ wanted }) => wanted(message));
    if (taken !== -1) this.#waiting.splice(taken, 1)[0]!.resolve(message);
    if (message.startsWith('4')) this.onPacket(message.slice(1));
  }
}
