import cluster from 'node:cluster';
import { existsSync, rmdirSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server as HttpServer, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Server } from 'socket.io';
import {
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
 * A worker among others on one port. Connections come to any of them, and a connection that is kept alive may carry
 * requests of several clients, while a session of long-polling lives in one worker. Its id names that worker:
 * - a request is relayed to it, over a socket in a folder that is the user's own;
 * - a connection that becomes a WebSocket is handed over to it, and is its own from then on.
 * The address of a client is looked at when it begins a session, which is never relayed.
 */
export class WorkerProcess {
  readonly #id = cluster.worker!.id;
  readonly #folder = process.env[SOCKETS_VARIABLE]!;

  constructor(
    private readonly engine: Engine,
    private readonly httpServer: HttpServer,
    private readonly metrics: WorkerMetrics,
  ) {}

  /** To be called before the worker takes connections. */
  async join(): Promise<void> {
    const { engine } = this;
    const generateId = engine.generateId.bind(engine);
    const handleRequest = engine.handleRequest.bind(engine);
    const handleUpgrade = engine.handleUpgrade.bind(engine);
    engine.generateId = async (message: IncomingMessage) => `${this.#id}.${await generateId(message)}`;
    engine.handleRequest = (message, response) => {
      const owner = this.#ownerOf(message);
      if (owner === null) handleRequest(message, response);
      else this.#relay(message, response, owner);
    };
    engine.handleUpgrade = (message, socket, head) => {
      const owner = this.#ownerOf(message);
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
    // `exclusive`: not shared with the others.
    own.listen({ path: socketPath(this.#folder, this.#id), exclusive: true });
    await once(own, 'listening');
  }

  /** Resolves when no other worker has a session left that may need this one. */
  async drained(): Promise<void> {
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

  onPrimaryGone(drain: () => void): void {
    cluster.worker!.once('disconnect', () => {
      // Else Node ends the process here and now.
      cluster.worker!.exitedAfterDisconnect = true;
      // The primary would have removed these.
      process.once('exit', () => {
        rmSync(socketPath(this.#folder, this.#id), { force: true });
        try {
          rmdirSync(this.#folder);
        } catch {
          // There are others yet.
        }
      });
      drain();
    });
  }

  /** `null`: it is ours, or nobody's, and Engine.IO says so. */
  #ownerOf({ url }: IncomingMessage): number | null {
    const owner = Number(OWNER.exec(url!)?.[1] ?? this.#id);
    return owner !== this.#id && existsSync(socketPath(this.#folder, owner)) ? owner : null;
  }

  #relay(message: IncomingMessage, response: ServerResponse, owner: number): void {
    const onward = request({
      socketPath: socketPath(this.#folder, owner),
      method: message.method,
      path: message.url,
      // The other side must not close it: one that has its answer may still write the end of its body, which is empty.
      headers: { ...message.headers, connection: 'keep-alive' },
      agent: false,
    });
    onward.once('response', (answer: IncomingMessage) => {
      delete answer.headers.connection;
      delete answer.headers['keep-alive'];
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    // The worker has died, and the session with it: the client begins a new one.
    onward.once('error', () => response.destroy());
    response.once('close', () => onward.destroy());
    message.pipe(onward);
  }

  #takeOver({ read }: HandOverMessage, connection: Socket): void {
    this.httpServer.emit('connection', connection);
    connection.unshift(Buffer.from(read, 'latin1'));
  }
}

/** Sends the connection away with what was read from it. A client that wants a WebSocket says no more until it has it. */
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
