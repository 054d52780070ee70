import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { HOST } from './processes.js';

/**
 * How a cable is cut. `refused`: open and new connections end at once. `silent`: bytes stop without an error, as when a
 * firewall drops packets; those on their way arrive when the cable is mended.
 */
export type Cut = 'refused' | 'silent';

/** One direction between two regions: requests of `from` to `to`. */
export class Cable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #cut: Cut | null = null;

  /** @param port port of the region `to` */
  constructor(
    readonly from: string,
    readonly to: string,
    private readonly port: number,
  ) {
    this.#server = createServer((caller) => this.#connect(caller));
  }

  /** @returns the URL by which `from` reaches `to` */
  async open(): Promise<string> {
    this.#server.listen(0, HOST);
    await once(this.#server, 'listening');
    return `http://${HOST}:${(this.#server.address() as AddressInfo).port}`;
  }

  get isCut(): boolean {
    return this.#cut !== null;
  }

  cut(how: Cut): void {
    this.#cut = how;
    for (const socket of this.#sockets) {
      if (how === 'silent') socket.pause();
      else socket.destroy();
    }
  }

  mend(): void {
    this.#cut = null;
    for (const socket of this.#sockets) socket.resume();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #connect(caller: Socket): void {
    if (this.#cut === 'refused') {
      caller.destroy();
      return;
    }
    const called = connect(this.port, HOST);
    for (const [one, other] of [
      [caller, called],
      [called, caller],
    ] as const) {
      this.#sockets.add(one);
      one.on('data', (chunk) => other.write(chunk));
      one.on('end', () => other.end());
      // 'close' follows and reports the error.
      one.on('error', () => undefined);
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroySoon();
      });
      if (this.#cut !== null) one.pause();
    }
  }
}
