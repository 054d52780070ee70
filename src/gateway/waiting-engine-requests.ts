import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket as TcpSocket } from 'node:net';
import { errorBody } from '../protocol/errors.js';

/** Requests that may wait at once, of all addresses. More are rejected. Each takes some 5 KB. */
const WAITING_MAX = 2_000;
const WAITING_OF_ADDRESS_MAX = 50;
const RETRY_AFTER_S = 10;

/** Bounds the requests that wait for units, in all and by address. */
export class WaitingEngineRequests {
  #count = 0;
  readonly #countsByAddress = new Map<string, number>();
  /** TCP connections with a waiting request. No browser sends another one before the response, so its connection is destroyed. */
  readonly #busy = new WeakSet<TcpSocket>();

  /** Calls `next` once `whenReady` calls back, unless the client has left by then. */
  wait(
    address: string,
    request: IncomingMessage,
    response: ServerResponse,
    next: () => void,
    whenReady: (proceed: () => void) => void,
  ): void {
    const tcp = request.socket;
    if (this.#busy.has(tcp)) {
      tcp.destroy();
      return;
    }
    const ofAddress = this.#countsByAddress.get(address) ?? 0;
    if (this.#count >= WAITING_MAX || ofAddress >= WAITING_OF_ADDRESS_MAX) {
      reject(response);
      return;
    }
    let isWaiting = true;
    const end = (): void => {
      if (!isWaiting) return;
      isWaiting = false;
      this.#add(address, -1);
      this.#busy.delete(tcp);
      tcp.off('close', end);
    };
    this.#add(address, 1);
    this.#busy.add(tcp);
    tcp.once('close', end);
    whenReady(() => {
      end();
      if (!tcp.destroyed) next();
    });
  }

  #add(address: string, change: 1 | -1): void {
    this.#count += change;
    const count = (this.#countsByAddress.get(address) ?? 0) + change;
    if (count === 0) this.#countsByAddress.delete(address);
    else this.#countsByAddress.set(address, count);
  }
}

/** Uses only what an upgrade has, too: Engine.IO passes a response that knows `end` alone, and closes the connection. */
function reject(response: ServerResponse): void {
  const error = errorBody('RATE_LIMITED', 'too many requests from your address; slow down', RETRY_AFTER_S * 1_000);
  response.setHeader('Retry-After', String(RETRY_AFTER_S));
  response.writeHead(429, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ error }));
}
