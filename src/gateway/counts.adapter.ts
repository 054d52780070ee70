import type { Server as HttpServer } from 'node:http';
import type { INestApplicationContext } from '@nestjs/common';
import { IoAdapter } from '@nestjs/platform-socket.io';
import type { Server, ServerOptions } from 'socket.io';
import type { OriginPolicy } from '../access/origin-policy.js';
import { boundedParser, TRANSPORT_BYTES_MAX } from './transport/packet-decoder.js';
import { boundProbes, createGuardedServer } from './transport/websocket-limits.js';
import type { GatewaySocket } from './gateway-socket.js';
import type { Handshake } from './handshake.js';
import { PageGuard } from './page-guard.js';
import { HandshakeMemory } from './transport/handshake-memory.js';
import { findConnection } from './transport/engine-internals.js';
import { RequestGate } from './request-gate.js';
import type { Shortcuts } from './transport/shortcuts.js';
import { GATEWAY_CLOSING } from '../protocol/errors.js';
import { takeWebSockets } from './transport/upgrades.js';

/** A vanished client is noticed after the two together. */
const PING_INTERVAL_MS = 15_000;
const PING_TIMEOUT_MS = 10_000;
/** A connection that does not get through its handshake by then is closed. */
const CONNECT_TIMEOUT_MS = 10_000;

/** socket.io under NestJS, with the limits of the protocol. */
export class CountsAdapter extends IoAdapter {
  /** Once the application is initialised. */
  engine!: Server['engine'];

  constructor(
    app: INestApplicationContext,
    private readonly handshake: Handshake,
    private readonly origins: OriginPolicy,
    private readonly shortcuts: Shortcuts,
    /** Carries events between gateways; `null`: this one is alone. */
    private readonly socketAdapter: ServerOptions['adapter'] | null,
  ) {
    super(app);
  }

  override createIOServer(port: number): Server {
    const pages = new PageGuard(this.origins);
    const { handshake } = this;
    const { pending: connecting, intakes } = handshake;
    const wsEngine = createGuardedServer({
      admits: (request, tcp) => handshake.admits(request, tcp),
      webSocketOpened: (webSocket, request, tcp) =>
        handshake.webSocketOpened(webSocket, request, tcp, findConnection(server.engine, request)),
    });
    const options: Partial<ServerOptions> = {
      parser: boundedParser,
      wsEngine,
      maxHttpBufferSize: TRANSPORT_BYTES_MAX,
      pingInterval: PING_INTERVAL_MS,
      pingTimeout: PING_TIMEOUT_MS,
      connectTimeout: CONNECT_TIMEOUT_MS,
      serveClient: false,
      ...(this.socketAdapter !== null && { adapter: this.socketAdapter }),
      // Stock clients try again after a request that failed, and not after a `connect_error`.
      allowRequest: (request, answer) => {
        const refused = pages.findRejection(request);
        if (refused !== null) answer(refused, false);
        else if (handshake.lifecycle.isClosing) answer(GATEWAY_CLOSING, false);
        else answer('too many connect at once from your address', connecting.mayBegin(request));
      },
      cors: { origin: (origin, answer) => answer(null, origin !== undefined && this.origins.isListed(origin)) },
    };
    const server = super.createIOServer(port, options as ServerOptions);
    takeWebSockets(this.httpServer as HttpServer);
    new RequestGate(server.engine, intakes, handshake.addresses).attach();
    intakes.watch(server);
    server.engine.on('connection', (connection: GatewaySocket['conn']) => connecting.begin(connection));
    pages.watch(server);
    boundProbes(server);
    (this.httpServer as HttpServer).on('connection', (tcp) => handshake.admitTcp(tcp));
    new HandshakeMemory(this.shortcuts.handshakeMemory).watch(server);
    this.engine = server.engine;
    server.use((socket, next) => {
      handshake.check(socket as GatewaySocket).then(() => next(), next);
    });
    return server;
  }

  /** Nothing: they are the decoder's and CountsGateway's matter. NestJS would run an rxjs pipeline for each message. */
  override bindMessageHandlers(): void {}
}
