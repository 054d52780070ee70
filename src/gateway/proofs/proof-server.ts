import { once } from 'node:events';
import { createServer, type Server as HttpServer } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket as TcpSocket } from 'node:net';
import { Server, type Socket } from 'socket.io';
import { WebSocket } from 'ws';
import { boundedParser } from '../transport/packet-decoder.js';
import { OnePongServer } from '../transport/bounded-websocket-server.js';

const LOOPBACK = '127.0.0.1';
/** Exclusive, because workers of one gateway would otherwise share the port and accept each other's connections. */
const ANY_PORT = { port: 0, host: LOOPBACK, exclusive: true };
/** Packets of Engine.IO and Socket.IO: https://socket.io/docs/v4/socket-io-protocol/ */
const CONNECT = '40';
const CONNECTED = '40{';

/** Both ends of a Socket.IO connection over a WebSocket. */
export interface ProofConnection {
  /** The server's end. */
  readonly socket: Socket;
  /** The client's end, and its TCP socket. */
  readonly client: WebSocket;
  readonly tcp: TcpSocket;
  /** Messages that the client has received since it connected. */
  readonly received: string[];
}

/** A socket.io server like that of the gateway. This process connects to it over loopback to observe its behaviour. */
export class ProofServer {
  readonly #http: HttpServer;
  readonly #server: Server;
  readonly #clients: WebSocket[] = [];

  private constructor(http: HttpServer) {
    this.#http = http;
    this.#server = new Server(http, {
      parser: boundedParser,
      wsEngine: OnePongServer,
      transports: ['websocket'],
      serveClient: false,
    });
  }

  static async listen(): Promise<ProofServer> {
    const http = createServer();
    const server = new ProofServer(http);
    http.listen(ANY_PORT);
    await once(http, 'listening');
    return server;
  }

  /** The number of connections, as Engine.IO counts them. */
  get size(): number {
    return this.#server.engine.clientsCount;
  }

  async connect(): Promise<ProofConnection> {
    const { port } = this.#http.address() as AddressInfo;
    const tcp = connect(port, LOOPBACK);
    const client = new WebSocket(`ws://${LOOPBACK}:${port}/socket.io/?EIO=4&transport=websocket`, {
      createConnection: () => tcp,
      perMessageDeflate: false,
    });
    this.#clients.push(client);
    client.on('error', () => undefined);
    const received: string[] = [];
    const answered = new Promise<void>((resolve) => {
      client.on('message', (data: Buffer) => {
        const text = data.toString();
        if (text.startsWith(CONNECTED)) resolve();
        else if (!text.startsWith('0')) received.push(text);
      });
    });
    client.once('open', () => client.send(CONNECT));
    const [socket] = (await once(this.#server, 'connection')) as [Socket];
    await answered;
    return { socket, client, tcp, received };
  }

  /** Ends all connections, whatever their state. */
  close(): void {
    for (const client of this.#clients) client.terminate();
    void this.#server.close();
    this.#http.closeAllConnections();
  }
}

/** Both ends of a TCP connection. */
export interface TcpPair {
  readonly near: TcpSocket;
  readonly far: TcpSocket;
}

export async function connectTcpPair(): Promise<TcpPair> {
  const server = createTcpServer().listen(ANY_PORT);
  await once(server, 'listening');
  const far = connect((server.address() as AddressInfo).port, LOOPBACK);
  const [near] = (await once(server, 'connection')) as [TcpSocket];
  server.close();
  for (const end of [near, far]) end.on('error', () => undefined);
  return { near, far };
}
