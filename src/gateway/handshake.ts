import type { IncomingMessage } from 'node:http';
import type { Socket as TcpSocket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Inject, Injectable } from '@nestjs/common';
import type { WebSocket } from 'ws';
import { AddressLimiter, toNetwork } from '../access/address-limiter.js';
import { Authenticator } from '../access/authenticator.js';
import { BotFilter } from '../access/bot-filter.js';
import { toSessionKey } from '../access/name-hashing.js';
import { ClosingFlag } from '../common/closing-flag.js';
import { OriginPolicy } from '../access/origin-policy.js';
import { SuspicionLog } from '../access/suspicion-log.js';
import { CLOSING_ERROR, type ErrorBody, errorBody, ProtocolError } from '../protocol/errors.js';
import { validationError } from '../protocol/validation-error.js';
import type { EngineSocket } from './transport/engine-internals.js';
import { MESSAGE_TOO_LARGE, TOO_LARGE_AUTH } from './transport/packet-decoder.js';
import { PendingHandshakes } from './pending-handshakes.js';
import type { GatewaySocket } from './gateway-socket.js';
import { FlowControlRegistry } from './flow-control-registry.js';
import { HANDSHAKE } from '../protocol/request-schemas.js';

/** Decides which clients may connect, and as which actor. A rejection is a `connect_error` whose `data` is the error object. */
@Injectable()
export class Handshake {
  readonly pending: PendingHandshakes;
  /** Connections with a socket, or a handshake in progress: one each, or a client could open any number of sockets. */
  readonly #connected = new WeakSet<EngineSocket>();
  readonly #admitted = new WeakSet<TcpSocket>();

  constructor(
    @Inject(OriginPolicy) private readonly origins: OriginPolicy,
    @Inject(AddressLimiter) readonly addresses: AddressLimiter,
    @Inject(Authenticator) private readonly identities: Authenticator,
    @Inject(BotFilter) private readonly bots: BotFilter,
    @Inject(FlowControlRegistry) readonly flowControls: FlowControlRegistry,
    @Inject(SuspicionLog) private readonly suspicions: SuspicionLog,
    @Inject(ClosingFlag) readonly lifecycle: ClosingFlag,
  ) {
    this.pending = new PendingHandshakes(addresses, suspicions);
  }

  /** @throws an error in the form that socket.io's middlewares use */
  async check(socket: GatewaySocket): Promise<void> {
    const { conn } = socket;
    if (this.#connected.has(conn)) throw toConnectError(errorBody('BAD_REQUEST', 'a connection connects only once'));
    this.#connected.add(conn);
    try {
      await this.#check(socket);
      this.pending.complete(conn, this.flowControls.flowControlOf(conn));
    } catch (error) {
      this.#connected.delete(conn);
      if (error instanceof ProtocolError) throw toConnectError(error.body);
      throw error;
    }
  }

  async #check(socket: GatewaySocket): Promise<void> {
    const { conn, request, handshake } = socket;
    if (this.lifecycle.isClosing) {
      // So that nothing is answered: a stock client comes back after a lost connection, and not after a refusal.
      conn.close();
      throw toConnectError(CLOSING_ERROR);
    }
    const rejection = this.origins.findRejection(request);
    if (rejection !== null) throw new ProtocolError('FORBIDDEN', rejection);
    if (handshake.auth === TOO_LARGE_AUTH) throw new ProtocolError('PAYLOAD_TOO_LARGE', MESSAGE_TOO_LARGE);
    const parsed = HANDSHAKE.safeParse({ ...handshake.auth });
    if (!parsed.success) throw toConnectError(validationError(parsed.error, Object.keys(HANDSHAKE.shape)));
    const address = this.addresses.addressOf(request);
    this.#count(conn, address);
    const { token, actor, session, automated } = parsed.data;
    socket.data.address = address;
    const { 'user-agent': userAgent } = request.headers;
    socket.data.isBot = this.bots.isBot(userAgent, automated);
    const identity = await this.identities.identify({ token, actor, actorField: 'actor' }, { address, userAgent });
    socket.data.identity = identity;
    socket.data.session = session === undefined ? null : toSessionKey(identity.actor, session);
  }

  /**
   * Counts the connection for its address from now on, also while its token is verified, until it and its TCP connections are
   * closed. A second handshake on it counts nothing.
   */
  #count(conn: EngineSocket, address: string): void {
    const flowControl = this.flowControls.flowControlOf(conn);
    if (flowControl.connectionSlot !== null || conn.readyState === 'closed') return;
    if (!this.addresses.mayConnect(address)) this.suspicions.add('connections', address);
    flowControl.connectionSlot = this.addresses.connect(address, conn);
    for (const webSocket of flowControl.webSockets) flowControl.connectionSlot.holdUntilClosed(webSocket);
  }

  /** @returns whether the request may open a WebSocket */
  admits(request: IncomingMessage, tcp: Duplex): boolean {
    const address = this.addresses.addressOf(request);
    if (this.addresses.openWebSocket(address, tcp)) return true;
    this.suspicions.add('connections', address);
    return false;
  }

  /** Destroys a TCP connection, for any protocol, if its address has as many as it may. */
  admitTcp(tcp: TcpSocket): void {
    // Node emits `connection` twice if an upgrade was ignored.
    if (this.#admitted.has(tcp)) return;
    this.#admitted.add(tcp);
    if (this.addresses.openTcp(tcp)) return;
    this.suspicions.add('connections', toNetwork(tcp.remoteAddress ?? ''));
    tcp.destroy();
  }

  /** @param conn the connection that is upgraded; `undefined` if the WebSocket begins one */
  webSocketOpened(webSocket: WebSocket, request: IncomingMessage, tcp: Duplex, conn: EngineSocket | undefined): void {
    const flowControl = this.flowControls.attach(webSocket, request, conn);
    if (!flowControl.isHandshakeDone) this.pending.watch(flowControl, webSocket, tcp);
  }
}

function toConnectError(body: ErrorBody): Error {
  return Object.assign(new Error(body.message), { data: body });
}
