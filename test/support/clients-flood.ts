import { encodeFrame, RawSocket } from './raw-socket.js';

/** Operations in one write. */
const CHUNK = 500;

/** Sockets that send views without waiting, and count the acknowledgements. */
export class Flood {
  /** Number of acknowledgements by error code; `ok` without an error. */
  readonly acknowledgements = new Map<string, number>();

  /** Resolves when the kernel has taken all bytes. */
  readonly written: Promise<unknown>;

  /** Connects this many sockets, and starts to send `views` over each of them, to `posts` in turn. */
  static async start(url: string, sockets: number, views: number, posts: readonly string[]): Promise<Flood> {
    const connected = await Promise.all(Array.from({ length: sockets }, () => RawSocket.connect(url)));
    return new Flood(connected, makeChunks(views, posts));
  }

  private constructor(
    private readonly sockets: readonly RawSocket[],
    chunks: readonly Buffer[],
  ) {
    for (const socket of sockets) socket.onPacket = (packet) => this.#countAnswer(packet);
    this.written = Promise.all(sockets.map((socket) => this.#send(socket, chunks)));
  }

  get acknowledged(): number {
    return [...this.acknowledgements.values()].reduce((sum, count) => sum + count, 0);
  }

  count(code: string): number {
    return this.acknowledgements.get(code) ?? 0;
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async #send(socket: RawSocket, chunks: readonly Buffer[]): Promise<void> {
    for (const chunk of chunks) await socket.flushed(chunk);
  }

  #countAnswer(packet: string): void {
    if (!packet.startsWith('3')) return;
    const code = /"code":"(\w+)"/.exec(packet)?.[1] ?? 'ok';
    this.acknowledgements.set(code, this.count(code) + 1);
  }
}

/** Makes the bytes in advance, the same for all sockets, so that sending is faster than the gateway's reading. */
function makeChunks(views: number, posts: readonly string[]): Buffer[] {
  const frames = Array.from({ length: views }, (_, i) =>
    encodeFrame(`42${i}${JSON.stringify(['view', { post: posts[i % posts.length] }])}`),
  );
  return Array.from({ length: Math.ceil(views / CHUNK) }, (_, i) => {
    return Buffer.concat(frames.slice(i * CHUNK, (i + 1) * CHUNK));
  });
}
