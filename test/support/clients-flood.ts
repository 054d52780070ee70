import { encodeFrame, RawSocket } from './raw-socket.js';

/** Operations that leave in one write. */
const CHUNK = 500;

/** Sockets that send views without waiting for anything, and count what they are answered. */
export class Flood {
  /** Answers by the code of their error; `ok` without one. */
  readonly acknowledgements = new Map<string, number>();

  /** Resolves when the kernel has taken all. */
  readonly written: Promise<unknown>;

  /** Connects this many sockets, and begins to send `views` over each of them, to `posts` in turn. */
  static async start(url: string, sockets: number, views: number, posts: readonly string[]): Promise<Flood> {
    const connected = await Promise.all(Array.from({ length: sockets }, () => RawSocket.connect(url)));
    return new Flood(connected, chunksOf(views, posts));
  }

  private constructor(
    private readonly sockets: readonly RawSocket[],
    chunks: readonly Buffer[],
  ) {
    for (const socket of sockets) socket.onPacket = (packet) => this.#answered(packet);
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

  #answered(packet: string): void {
    if (!packet.startsWith('3')) return;
    const code = /"code":"(\w+)"/.exec(packet)?.[1] ?? 'ok';
    this.acknowledgements.set(code, this.count(code) + 1);
  }
}

/** Made beforehand, and the same for all sockets: to be faster than who takes them. */
function chunksOf(views: number, posts: readonly string[]): Buffer[] {
  const frames = Array.from({ length: views }, (_, i) =>
    encodeFrame(`42${i}${JSON.stringify(['view', { post: posts[i % posts.length] }])}`),
  );
  return Array.from({ length: Math.ceil(views / CHUNK) }, (_, i) => {
    return Buffer.concat(frames.slice(i * CHUNK, (i + 1) * CHUNK));
  });
}
