import { frameOf, RawSocket } from './raw-socket.js';

/** Operations that leave in one write. */
const CHUNK = 500;

/** Sockets that send views without waiting for anything, and count what they are answered. */
export class Flood {
  /** Answers by the code of their error; `ok` without one. */
  readonly answers = new Map<string, number>();

  /** Sends `views` over each of so many sockets, to `posts` in turn. Resolves when the kernel has taken all. */
  static async pour(url: string, sockets: number, views: number, posts: readonly string[]): Promise<Flood> {
    const flood = new Flood(await Promise.all(Array.from({ length: sockets }, () => RawSocket.connect(url))));
    await Promise.all(flood.sockets.map((socket) => flood.#send(socket, views, posts)));
    return flood;
  }

  private constructor(private readonly sockets: readonly RawSocket[]) {
    for (const socket of sockets) socket.onPacket = (packet) => this.#answered(packet);
  }

  get answered(): number {
    return [...this.answers.values()].reduce((sum, count) => sum + count, 0);
  }

  count(code: string): number {
    return this.answers.get(code) ?? 0;
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async #send(socket: RawSocket, views: number, posts: readonly string[]): Promise<void> {
    for (let sent = 0; sent < views; sent += CHUNK) {
      const length = Math.min(CHUNK, views - sent);
      const frames = Array.from({ length }, (_, i) =>
        frameOf(`42${sent + i}${JSON.stringify(['view', { post: posts[(sent + i) % posts.length] }])}`),
      );
      await socket.flushed(Buffer.concat(frames));
    }
  }

  #answered(packet: string): void {
    if (!packet.startsWith('3')) return;
    const code = /"code":"(\w+)"/.exec(packet)?.[1] ?? 'ok';
    this.answers.set(code, this.count(code) + 1);
  }
}
