import type { Server as HttpServer } from 'node:http';
import type { INestApplicationContext } from '@nestjs/common';
import { IoAdapter } from '@nestjs/platform-socket.io';
import type { Server, ServerOptions } from 'socket.io';
import type { OriginPolicy } from '../access/origin-policy.js';
import { SETTINGS } from '../config/injection-tokens.js';
import type { Settings } from '../config/settings.js';
import { boundedParser, TRANSPORT_BYTES_MAX } from './transport/packet-decoder.js';
import { boundProbes, createGuardedServer } from './transport/bounded-websocket-server.js';
import type { GatewaySocket } from './gateway-socket.js';
import type { Handshake } from './handshake.js';
import { EngineOriginGuard } from './engine-origin-guard.js';
import { HandshakeMemory } from './transport/handshake-memory.js';
import { type Engine, findConnection } from './transport/engine-internals.js';
import { EngineRequestGate } from './engine-request-gate.js';
import type { Shortcuts } from './transport/shortcuts.js';
import { GATEWAY_CLOSING } from '../protocol/errors.js';
import { takeWebSockets } from './transport/upgrade-filter.js';

/** A client that vanished is detected after the two together. */
const PING_INTERVAL_MS = 15_000;
const PING_TIMEOUT_MS = 10_000;
/** A connection whose handshake is not done by then is closed. */
const CONNECT_TIMEOUT_MS = 10_000;

/** socket.io under NestJS, with the limits of the protocol. */
export class CountsAdapter extends IoAdapter {
  #engine: Engine | null = null;
  readonly #basePath: string;

  constructor(
    app: INestApplicationContext,
    private readonly handshake: Handshake,
    private readonly origins: OriginPolicy,
    private readonly shortcuts: Shortcuts,
    /** Carries events between gateways; `null`: there are no others. */
    private readonly socketAdapter: ServerOptions['adapter'] | null,
  ) {
    super(app);
    this.#basePath = app.get<Settings>(SETTINGS).basePath;
  }

  /** @throws Error before the application is initialised */
  get engine(): Engine {
    if (this.#engine === null) throw new Error('the server of socket.io does not exist yet');
    return this.#engine;
  }

  override createIOServer(port: number): Server {
    const pages = new EngineOriginGuard(this.origins);
    const { handshake } = this;
    const { pending, flowControls } = handshake;
    const wsEngine = createGuardedServer({
      admits: (request, tcp) => handshake.admits(request, tcp),
      webSocketOpened: (webSocket, request, tcp) =>
        handshake.webSocketOpened(webSocket, request, tcp, findConnection(server.engine, request)),
    });
    const path = `${this.#basePath}/socket.io/`;
    const options: Partial<ServerOptions> = {
      path,
      parser: boundedParser,
      wsEngine,
      maxHttpBufferSize: TRANSPORT_BYTES_MAX,
      pingInterval: PING_INTERVAL_MS,
      pingTimeout: PING_TIMEOUT_MS,
      connectTimeout: CONNECT_TIMEOUT_MS,
      serveClient: false,
      ...(this.socketAdapter !== null && { adapter: this.socketAdapter }),
      // Stock clients try again after a failed request, and not after a `connect_error`.
      allowRequest: (request, answer) => {
        const rejection = pages.findRejection(request);
        if (rejection !== null) answer(rejection, false);
        else if (handshake.lifecycle.isClosing) answer(GATEWAY_CLOSING, false);
        else answer('too many handshakes from your address are pending', pending.mayBegin(request));
      },
      cors: { origin: (origin, answer) => answer(null, origin !== undefined && this.origins.isListed(origin)) },
    };
    const server = super.createIOServer(port, options as ServerOptions);
    takeWebSockets(this.httpServer as HttpServer, path);
    new EngineRequestGate(server.engine, flowControls, handshake.addresses).attach();
    flowControls.watch(server);
    server.engine.on('connection', (connection: GatewaySocket['conn']) => pending.begin(connection));
    pages.watch(server);
    boundProbes(server);
    (this.httpServer as HttpServer).on('connection', (tcp) => handshake.admitTcp(tcp));
    new HandshakeMemory(this.shortcuts.handshakeMemory).watch(server);
    this.#engine = server.engine;
    server.use((socket, next) => {
      handshake.check(socket as GatewaySocket).then(() => next(), next);
    });
    return server;
  }

  /** Binds nothing, because the decoder passes messages on. NestJS would run an rxjs pipeline for each. */
  override bindMessageHandlers(): void {}
}
