import cluster from 'node:cluster';
import { existsSync, rmdirSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server as HttpServer, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Server } from 'socket.io';
import {
  type AboutToListenMessage,
  type DrainedMessage,
  type HandOverMessage,
  SOCKETS_VARIABLE,
  socketPath,
  stopReading,
  type WorkerMessage,
} from './messages.js';
import type { WorkerMetrics } from './worker-metrics.js';

type Engine = Server['engine'];

const OWNER = /[?&]sid=(\d+)\./;

/**
 * One of several workers on a port. Any worker accepts a connection, and a connection that is kept alive may carry requests of
 * several clients, while each Engine.IO session belongs to one worker. The session id names its owner:
 * - a request is relayed to the owner, over a socket in a folder that only this user can open;
 * - a connection that becomes a WebSocket is handed over to the owner.
 * A client's address is read from the first request of its session, which is never relayed.
 */
export class SessionRouter {
  readonly #id = cluster.worker!.id;
  readonly #folder = process.env[SOCKETS_VARIABLE]!;

  constructor(
    private readonly engine: Engine,
    private readonly httpServer: HttpServer,
    private readonly metrics: WorkerMetrics,
  ) {}

  /** To be called right before the worker listens. */
  async join(): Promise<void> {
    const { engine } = this;
    const generateId = engine.generateId.bind(engine);
    const handleRequest = engine.handleRequest.bind(engine);
    const handleUpgrade = engine.handleUpgrade.bind(engine);
    engine.generateId = async (message: IncomingMessage) => `${this.#id}.${await generateId(message)}`;
    engine.handleRequest = (message, response) => {
      const owner = this.#findOwner(message);
      if (owner === null) handleRequest(message, response);
      else this.#relay(message, response, owner);
    };
    engine.handleUpgrade = (message, socket, head) => {
      const owner = this.#findOwner(message);
      if (owner === null) handleUpgrade(message, socket, head);
      else handOver(message, socket as Socket, head, owner);
    };
    process.on('message', (message: WorkerMessage, connection: unknown) => {
      if (message.kind === 'hand over' && connection) this.#takeOver(message, connection as Socket);
    });

    const own = createServer((message, response) => {
      if (message.url === '/metrics') void this.metrics.respond(response);
      else handleRequest(message, response);
    });
    // `exclusive`: not shared with the other workers.
    own.listen({ path: socketPath(this.#folder, this.#id), exclusive: true });
    await once(own, 'listening');
    const aboutToListen: AboutToListenMessage = { kind: 'about to listen' };
    process.send!(aboutToListen);
  }

  /** Resolves when no other worker has a session left that may need this worker. */
  async waitForOtherWorkers(): Promise<void> {
    if (!process.connected) return;
    const drained: DrainedMessage = { kind: 'drained' };
    await new Promise<void>((resolve) => {
      process.once('disconnect', () => resolve());
      process.on('message', ({ kind }: WorkerMessage) => {
        if (kind === 'close') resolve();
      });
      process.send!(drained, () => undefined);
    });
  }

  onPrimaryEnd(drain: () => void): void {
    cluster.worker!.once('disconnect', () => {
      // Otherwise Node exits the process at once.
      cluster.worker!.exitedAfterDisconnect = true;
      // The primary would have removed this socket and the folder.
      process.once('exit', () => {
        rmSync(socketPath(this.#folder, this.#id), { force: true });
        try {
          rmdirSync(this.#folder);
        } catch {
          // Other workers still have their sockets in it.
        }
      });
      drain();
    });
  }

  /** @returns the worker that has the request's session; `null`: this worker, or the session is unknown and Engine.IO rejects it */
  #findOwner({ url }: IncomingMessage): number | null {
    const owner = Number(OWNER.exec(url!)?.[1] ?? this.#id);
    return owner !== this.#id && existsSync(socketPath(this.#folder, owner)) ? owner : null;
  }

  #relay(message: IncomingMessage, response: ServerResponse, owner: number): void {
    const relayed = request({
      socketPath: socketPath(this.#folder, owner),
      method: message.method,
      path: message.url,
      // The owner must not close the connection: the relay may still write the empty end of a body after the response.
      headers: { ...message.headers, connection: 'keep-alive' },
      agent: false,
    });
    relayed.once('response', (relayedResponse: IncomingMessage) => {
      delete relayedResponse.headers.connection;
      delete relayedResponse.headers['keep-alive'];
      response.writeHead(relayedResponse.statusCode!, relayedResponse.headers);
      relayedResponse.pipe(response);
    });
    // The owner has died, and the session with it: the client begins a new one.
    relayed.once('error', () => response.destroy());
    response.once('close', () => relayed.destroy());
    message.pipe(relayed);
  }

  #takeOver({ read }: HandOverMessage, connection: Socket): void {
    this.httpServer.emit('connection', connection);
    connection.unshift(Buffer.from(read, 'latin1'));
  }
}

/** Sends the connection to the worker `to`, with the bytes read from it. The client sends nothing more until the WebSocket is open. */
function handOver(message: IncomingMessage, connection: Socket, head: Buffer, to: number): void {
  const { method, url, rawHeaders } = message;
  const lines = [`${method!} ${url!} HTTP/1.1`];
  for (let i = 0; i < rawHeaders.length; i += 2) lines.push(`${rawHeaders[i]!}: ${rawHeaders[i + 1]!}`);
  const read = `${lines.join('\r\n')}\r\n\r\n${head.toString('latin1')}`;
  const handOverMessage: HandOverMessage = { kind: 'hand over', to, read };
  stopReading(connection);
  process.send!(handOverMessage, connection, {}, (error) => {
    if (error !== null) connection.destroy();
  });
}
