import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { AddressLimiter } from '../access/address-limiter.js';
import type { SuspicionLog } from '../access/suspicions.js';
import { type EngineSocket, terminateConnection } from './transport/engine-internals.js';
import type { Intake } from './intake.js';
import { HandshakeBytes } from './unproved-bytes.js';

/** How many connections may be in their handshake at once. Further ones are rejected with 403, after which stock clients try again. */
interface HandshakeLimits {
  readonly ofAddress: number;
  /** At 16 KB each, and what `HandshakeBytes` allows for all: 200 MB. */
  readonly ofAll: number;
}

const LIMITS: HandshakeLimits = { ofAddress: 1_000, ofAll: 10_000 };

/**
 * Connections of Engine.IO that have no socket yet. Over long-polling one takes a single request, 7 KB, and 40 s until it
 * is closed and forgotten: the 10 s that it has for its handshake, and 30 s for a client that does not poll.
 */
export class PendingHandshakes {
  /** In the order in which they came. */
  readonly #byAddress = new Map<string, Set<EngineSocket>>();
  readonly #addressOf = new WeakMap<EngineSocket, string>();
  readonly #bytes: HandshakeBytes;
  #all = 0;

  /** One function for all connections. */
  readonly #closed: (this: EngineSocket) => void;

  constructor(
    private readonly addresses: AddressLimiter,
    private readonly suspicions: SuspicionLog,
    private readonly limits = LIMITS,
  ) {
    this.#bytes = new HandshakeBytes(suspicions);
    const end = (connection: EngineSocket): void => this.end(connection);
    this.#closed = function () {
      end(this);
    };
  }

  /** When all addresses together have as many as they may, the address that has most of them loses them. */
  mayBegin(request: IncomingMessage): boolean {
    const address = this.addresses.addressOf(request);
    if ((this.#byAddress.get(address)?.size ?? 0) >= this.limits.ofAddress) {
      this.suspicions.add('handshakes', address);
      return false;
    }
    if (this.#all >= this.limits.ofAll) this.#endLargest();
    return this.#all < this.limits.ofAll;
  }

  begin(connection: EngineSocket): void {
    const address = this.addresses.addressOf(connection.request);
    this.#all += 1;
    this.#addressOf.set(connection, address);
    // As other limits by address, this one spares loopback.
    if (this.addresses.operationTokenBucket(address) !== null) {
      const known = this.#byAddress.get(address);
      if (known === undefined) this.#byAddress.set(address, new Set([connection]));
      else known.add(connection);
    }
    connection.on('close', this.#closed);
  }

  /** Watches what a WebSocket sends whose connection has no socket yet. */
  watch(intake: Intake, webSocket: WebSocket, tcp: Duplex): void {
    this.#bytes.watch(intake, webSocket, tcp);
  }

  /** It has its socket. */
  complete(connection: EngineSocket, intake: Intake): void {
    this.end(connection);
    intake.handshakeDone = true;
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
    if (known?.delete(connection) && known.size === 0) this.#byAddress.delete(address);
  }

  #endLargest(): void {
    let largest = '';
    let size = 0;
    for (const [address, known] of this.#byAddress) {
      if (known.size <= size) continue;
      largest = address;
      size = known.size;
    }
    let spared = this.#all;
    for (const known of this.#byAddress.values()) spared -= known.size;
    // Others do not lose theirs to those that have no limit.
    if (size <= spared) return;
    this.suspicions.add('handshakes', largest);
    for (const connection of [...this.#byAddress.get(largest)!]) terminateConnection(connection);
  }
}
