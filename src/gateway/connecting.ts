import type { IncomingMessage } from 'node:http';
import type { Addresses } from '../access/addresses.js';
import type { CountsSocket } from './connection.js';

/** Of one address at a time; beyond it requests to connect are refused with 403, after which stock clients try again. */
const CONNECTING_MAX = 1_000;

type EngineSocket = CountsSocket['conn'];

/**
 * Connections of Engine.IO that have no socket yet. Over long-polling one takes a single request, 7 KB, and 40 s until it
 * is closed and forgotten.
 */
export class Connecting {
  readonly #byAddress = new Map<string, number>();
  readonly #addressOf = new WeakMap<EngineSocket, string>();

  /** One for all. */
  readonly #closed: (this: EngineSocket) => void;

  constructor(private readonly addresses: Addresses) {
    const end = (connection: EngineSocket): void => this.end(connection);
    this.#closed = function () {
      end(this);
    };
  }

  mayBegin(request: IncomingMessage): boolean {
    return (this.#byAddress.get(this.addresses.of(request)) ?? 0) < CONNECTING_MAX;
  }

  begin(connection: EngineSocket): void {
    const address = this.addresses.of(connection.request);
    // As other limits by address, this one spares loopback.
    if (this.addresses.operations(address) === null) return;
    this.#addressOf.set(connection, address);
    this.#byAddress.set(address, (this.#byAddress.get(address) ?? 0) + 1);
    connection.on('close', this.#closed);
  }

  /** It has its socket, or is closed: whichever comes first counts. */
  end(connection: EngineSocket): void {
    const address = this.#addressOf.get(connection);
    if (address === undefined) return;
    this.#addressOf.delete(connection);
    connection.off('close', this.#closed);
    const left = this.#byAddress.get(address)! - 1;
    if (left > 0) this.#byAddress.set(address, left);
    else this.#byAddress.delete(address);
  }
}
