import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { Addresses } from '../access/addresses.js';
import type { Suspicions } from '../access/suspicions.js';
import type { CountsSocket } from './connection.js';
import type { Intake } from './intake.js';
import { UnprovedBytes } from './unproved-bytes.js';

/** Of one address at a time; beyond it requests to connect are refused with 403, after which stock clients try again. */
const CONNECTING_MAX = 1_000;
/** Of all addresses together, at 16 KB and what `UnprovedBytes` allows for all: 200 MB. Refused as above. */
const CONNECTING_MAX_OF_ALL = 10_000;

type EngineSocket = CountsSocket['conn'];

/**
 * Connections of Engine.IO that have no socket yet. Over long-polling one takes a single request, 7 KB, and 40 s until it
 * is closed and forgotten.
 */
export class Connecting {
  readonly #byAddress = new Map<string, number>();
  readonly #addressOf = new WeakMap<EngineSocket, string>();
  readonly #bytes: UnprovedBytes;
  #all = 0;

  /** One for all. */
  readonly #closed: (this: EngineSocket) => void;

  constructor(
    private readonly addresses: Addresses,
    private readonly suspicions: Suspicions,
  ) {
    this.#bytes = new UnprovedBytes(suspicions);
    const end = (connection: EngineSocket): void => this.end(connection);
    this.#closed = function () {
      end(this);
    };
  }

  mayBegin(request: IncomingMessage): boolean {
    const address = this.addresses.of(request);
    if (this.#all < CONNECTING_MAX_OF_ALL && (this.#byAddress.get(address) ?? 0) < CONNECTING_MAX) return true;
    this.suspicions.add('handshakes', address);
    return false;
  }

  begin(connection: EngineSocket): void {
    const address = this.addresses.of(connection.request);
    this.#all += 1;
    this.#addressOf.set(connection, address);
    // As other limits by address, this one spares loopback.
    if (this.addresses.operations(address) !== null) {
      this.#byAddress.set(address, (this.#byAddress.get(address) ?? 0) + 1);
    }
    connection.on('close', this.#closed);
  }

  /** Watches what a WebSocket sends whose connection has no socket yet. */
  watch(intake: Intake, webSocket: WebSocket, tcp: Duplex): void {
    this.#bytes.watch(intake, webSocket, tcp);
  }

  /** It has its socket. */
  prove(connection: EngineSocket, intake: Intake): void {
    this.end(connection);
    intake.proved = true;
    this.#bytes.end(intake);
  }

  /** It has its socket, or is closed: whichever comes first counts. */
  end(connection: EngineSocket): void {
    const address = this.#addressOf.get(connection);
    if (address === undefined) return;
    this.#addressOf.delete(connection);
    this.#all -= 1;
    connection.off('close', this.#closed);
    const known = this.#byAddress.get(address);
    if (known === undefined) return;
    if (known > 1) this.#byAddress.set(address, known - 1);
    else this.#byAddress.delete(address);
  }
}
