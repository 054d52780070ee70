import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { HOST } from './processes.js';

/**
 * How a cable is cut. `refused`: connections end at once, and so do new ones. `silent`: nothing arrives and nobody is told, as
 * when a firewall drops packets; what was on its way arrives when the cable is mended.
 */
export type Cut = 'refused' | 'silent';

/** One direction of the way between two regions: calls that `from` makes to `to`. */
export class Cable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #cut: Cut | null = null;

  /** @param port of the region that it leads to */
  constructor(
    readonly from: string,
    readonly to: string,
    private readonly port: number,
  ) {
    this.#server = createServer((caller) => this.#join(caller));
  }

  /** @returns where the region that calls finds the other */
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

  #join(caller: Socket): void {
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
      // What it is comes with 'close'.
      one.on('error', () => undefined);
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroySoon();
      });
      if (this.#cut !== null) one.pause();
    }
  }
}
