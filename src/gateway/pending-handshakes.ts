import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { AddressLimiter } from '../access/address-limiter.js';
import type { SuspicionLog } from '../access/suspicion-log.js';
import { type EngineSocket, terminateConnection } from './transport/engine-internals.js';
import type { FlowControl } from './connection-flow-control.js';
import { HandshakeBytes } from './handshake-bytes.js';

/** Maximal numbers of pending handshakes. More are rejected with 403, after which stock clients try again. */
interface HandshakeLimits {
  readonly ofAddress: number;
  /** At 16 KB each, and with the bytes that `HandshakeBytes` allows for all: 200 MB. */
  readonly ofAll: number;
}

const LIMITS: HandshakeLimits = { ofAddress: 1_000, ofAll: 10_000 };

/**
 * Limits Engine.IO connections without a socket. Over long-polling one costs the client a single request, and the gateway
 * 7 KB for 40 s: the 10 s of the handshake's timeout, and 30 s for a client that does not poll.
 */
export class PendingHandshakes {
  /** In the order of arrival. */
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

  /** When all addresses together have the maximum, the address with most pending handshakes loses them. */
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
    // Like other limits by address, this one exempts loopback.
    if (this.addresses.operationTokenBucket(address) !== null) {
      const pending = this.#byAddress.get(address);
      if (pending === undefined) this.#byAddress.set(address, new Set([connection]));
      else pending.add(connection);
    }
    connection.on('close', this.#closed);
  }

  /** Bounds the bytes of a WebSocket whose connection has no socket yet. */
  watch(flowControl: FlowControl, webSocket: WebSocket, tcp: Duplex): void {
    this.#bytes.watch(flowControl, webSocket, tcp);
  }

  /** The connection has its socket. */
  complete(connection: EngineSocket, flowControl: FlowControl): void {
    this.end(connection);
    flowControl.isHandshakeDone = true;
    this.#bytes.end(flowControl);
  }

  /** The connection has its socket, or is closed. Only the first call has an effect. */
  end(connection: EngineSocket): void {
    const address = this.#addressOf.get(connection);
    if (address === undefined) return;
    this.#addressOf.delete(connection);
    this.#all -= 1;
    connection.off('close', this.#closed);
    const pending = this.#byAddress.get(address);
    if (pending?.delete(connection) && pending.size === 0) this.#byAddress.delete(address);
  }

  #endLargest(): void {
    let largest = '';
    let size = 0;
    for (const [address, pending] of this.#byAddress) {
      if (pending.size <= size) continue;
      largest = address;
      size = pending.size;
    }
    let spared = this.#all;
    for (const pending of this.#byAddress.values()) spared -= pending.size;
    // Addresses with a limit do not lose theirs to those without one.
    if (size <= spared) return;
    this.suspicions.add('handshakes', largest);
    for (const connection of [...this.#byAddress.get(largest)!]) terminateConnection(connection);
  }
}
