import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import type { Socket } from 'node:net';

/** The least of a WebSocket frame's head that says how long it is: two bytes, and up to eight more. */
const HEAD = 2;
const LENGTH_16 = 126;
const LENGTH_64 = 127;
const TEXT = 0x81;
/** A mask of zeros is a mask: the payload stays readable in a dump. */
const MASK = Buffer.alloc(4);

export type TextListener = (text: string) => void;

/**
 * Socket.IO over a WebSocket by hand, so that a test decides when it reads and what it answers, and a thousand cost
 * little. It does what a client must: https://datatracker.ietf.org/doc/html/rfc6455#section-5.2 without fragments and
 * extensions, which it does not offer, and https://socket.io/docs/v4/engine-io-protocol/
 */
export class RawClient {
  /** Socket.IO packets, without Engine.IO's `4`. */
  onPacket: TextListener = () => undefined;
  answersPings = true;
  #unread: Buffer = Buffer.alloc(0);

  private constructor(readonly socket: Socket) {
    socket.on('data', (data) => this.#read(data));
    // A gateway that cuts it is seen by `close`.
    socket.on('error', () => undefined);
  }

  /** Resolves when it is connected to the namespace. */
  static async connect(
    url: string,
    auth: { readonly actor?: string; readonly session?: string } = {},
  ): Promise<RawClient> {
    const client = new RawClient(await upgraded(`${url}/socket.io/?EIO=4&transport=websocket`));
    const connected = new Promise<void>((resolve) => {
      client.onPacket = (packet) => {
        if (packet.startsWith('0')) resolve();
      };
    });
    client.send(`40${JSON.stringify(auth)}`);
    await connected;
    return client;
  }

  /** An Engine.IO packet. */
  send(text: string): void {
    this.socket.write(frameOf(text));
  }

  emit(event: string, payload: object): void {
    this.send(`42${JSON.stringify([event, payload])}`);
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  close(): void {
    this.socket.destroy();
  }

  #read(data: Buffer): void {
    this.#unread = this.#unread.length === 0 ? data : Buffer.concat([this.#unread, data]);
    let at = 0;
    for (;;) {
      const frame = frameAt(this.#unread, at);
      if (frame === null) break;
      at = frame.end;
      this.#take(this.#unread.toString('utf8', frame.start, frame.end));
    }
    this.#unread = this.#unread.subarray(at);
  }

  #take(text: string): void {
    if (text === '2' && this.answersPings) this.send('3');
    else if (text.startsWith('4')) this.onPacket(text.slice(1));
  }
}

/** Text frames as a client sends them, to be written in one go. */
export function frameOf(text: string): Buffer {
  const payload = Buffer.from(text);
  const long = payload.length >= LENGTH_16;
  const head = Buffer.alloc(long ? 4 : 2);
  head[0] = TEXT;
  head[1] = 0x80 | (long ? LENGTH_16 : payload.length);
  if (long) head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, MASK, payload]);
}

/** Where the payload of the frame at `at` begins and ends; `null` while some of it is missing. */
function frameAt(bytes: Buffer, at: number): { start: number; end: number } | null {
  if (bytes.length < at + HEAD) return null;
  let length = bytes[at + 1]! & 0x7f;
  let start = at + HEAD;
  if (length === LENGTH_16) {
    start += 2;
    if (bytes.length < start) return null;
    length = bytes.readUInt16BE(at + HEAD);
  } else if (length === LENGTH_64) {
    start += 8;
    if (bytes.length < start) return null;
    length = Number(bytes.readBigUInt64BE(at + HEAD));
  }
  return bytes.length < start + length ? null : { start, end: start + length };
}

function upgraded(url: string): Promise<Socket> {
  const headers = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
  };
  return new Promise((resolve, reject) => {
    request(url, { headers, agent: false })
      .once('error', reject)
      .once('response', ({ statusCode }) => reject(new Error(`not upgraded: ${statusCode ?? 'no status'}`)))
      .once('upgrade', (_response, socket, head) => {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      })
      .end();
  });
}
