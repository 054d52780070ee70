import type { IncomingMessage } from 'node:http';
import type { Socket as TcpSocket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Inject, Injectable } from '@nestjs/common';
import type { WebSocket } from 'ws';
import { AddressLimiter, toNetwork } from '../access/address-limiter.js';
import { Authenticator } from '../access/authenticator.js';
import { toSessionKey } from '../access/key64.js';
import { Lifecycle } from '../common/lifecycle.js';
import { OriginPolicy } from '../access/origin-policy.js';
import { SuspicionLog } from '../access/suspicions.js';
import { CLOSING_ERROR, type ErrorBody, errorBody, ProtocolError } from '../protocol/errors.js';
import { validationError } from '../protocol/validation-error.js';
import type { EngineSocket } from './transport/engine-internals.js';
import { MESSAGE_TOO_LARGE, TOO_LARGE_AUTH } from './transport/packet-decoder.js';
import { PendingHandshakes } from './pending-handshakes.js';
import type { GatewaySocket } from './gateway-socket.js';
import { Intakes } from './intakes.js';
import { HANDSHAKE } from '../protocol/request-schemas.js';

/** Decides who may connect, and as whom. A refusal is a `connect_error` whose `data` is the protocol's error object. */
@Injectable()
export class Handshake {
  readonly pending: PendingHandshakes;
  /** Those that have their socket or are about to: one each, or a client could multiply itself. */
  readonly #taken = new WeakSet<EngineSocket>();
  readonly #admitted = new WeakSet<TcpSocket>();

  constructor(
    @Inject(OriginPolicy) private readonly origins: OriginPolicy,
    @Inject(AddressLimiter) readonly addresses: AddressLimiter,
    @Inject(Authenticator) private readonly identities: Authenticator,
    @Inject(Intakes) readonly intakes: Intakes,
    @Inject(SuspicionLog) private readonly suspicions: SuspicionLog,
    @Inject(Lifecycle) readonly lifecycle: Lifecycle,
  ) {
    this.pending = new PendingHandshakes(addresses, suspicions);
  }

  /** @throws an error as socket.io's middleware takes it. */
  async check(socket: GatewaySocket): Promise<void> {
    const { conn } = socket;
    if (this.#taken.has(conn)) throw refusal(errorBody('BAD_REQUEST', 'a connection connects only once'));
    this.#taken.add(conn);
    try {
      await this.#check(socket);
      this.pending.complete(conn, this.intakes.intakeFor(conn));
    } catch (error) {
      this.#taken.delete(conn);
      if (error instanceof ProtocolError) throw refusal(error.body);
      throw error;
    }
  }

  async #check(socket: GatewaySocket): Promise<void> {
    const { conn, request, handshake } = socket;
    if (this.lifecycle.isClosing) {
      // So that nothing is answered: a stock client comes back after a lost connection, and not after a refusal.
      conn.close();
      throw refusal(CLOSING_ERROR);
    }
    const refused = this.origins.findRejection(request);
    if (refused !== null) throw new ProtocolError('FORBIDDEN', refused);
    if (handshake.auth === TOO_LARGE_AUTH) throw new ProtocolError('PAYLOAD_TOO_LARGE', MESSAGE_TOO_LARGE);
    const parsed = HANDSHAKE.safeParse({ ...handshake.auth });
    if (!parsed.success) throw refusal(validationError(parsed.error, Object.keys(HANDSHAKE.shape)));
    const address = this.addresses.addressOf(request);
    this.#count(conn, address);
    const { token, actor, session } = parsed.data;
    socket.data.address = address;
    const identity = await this.identities.identify({ token, actor, actorField: 'actor' });
    socket.data.identity = identity;
    socket.data.session = session === undefined ? null : toSessionKey(identity.actor, session);
  }

  /**
   * From here on, also while its token is verified, until the connection and its TCP connections are closed; a second
   * attempt on it adds nothing.
   */
  #count(conn: EngineSocket, address: string): void {
    const intake = this.intakes.intakeFor(conn);
    if (intake.connectionSlot !== null || conn.readyState === 'closed') return;
    try {
      intake.connectionSlot = this.addresses.connect(address, conn);
    } catch (error) {
      this.suspicions.add('connections', address);
      throw error;
    }
    for (const webSocket of intake.webSockets) intake.connectionSlot.holdUntilClosed(webSocket);
  }

  /** @returns whether a WebSocket may be opened by this request */
  admits(request: IncomingMessage, tcp: Duplex): boolean {
    const address = this.addresses.addressOf(request);
    if (this.addresses.openWebSocket(address, tcp)) return true;
    this.suspicions.add('connections', address);
    return false;
  }

  /** Ends a TCP connection of an address that has as many as it may, whatever it is for. */
  admitTcp(tcp: TcpSocket): void {
    // Node emits a connection twice if its upgrade was ignored.
    if (this.#admitted.has(tcp)) return;
    this.#admitted.add(tcp);
    if (this.addresses.openTcp(tcp)) return;
    this.suspicions.add('connections', toNetwork(tcp.remoteAddress ?? ''));
    tcp.destroy();
  }

  /** A WebSocket has come, for a connection or for one that is about to begin. */
  webSocketOpened(webSocket: WebSocket, request: IncomingMessage, tcp: Duplex, conn: EngineSocket | undefined): void {
    const intake = this.intakes.attach(webSocket, request, conn);
    if (!intake.handshakeDone) this.pending.watch(intake, webSocket, tcp);
  }
}

function refusal(body: ErrorBody): Error {
  return Object.assign(new Error(body.message), { data: body });
}
