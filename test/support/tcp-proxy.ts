import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { freePort } from './free-port.js';

/** A proxy between a client and a server on 127.0.0.1 that can break connections on purpose. */
export interface TcpProxy {
  readonly port: number;
  /** Number of open connections. */
  readonly connections: number;
  /**
   * Called for each chunk from the server to the client, which may hold a fragment of a reply or several replies. 'drop'
   * cuts the connection before that chunk: the request took effect, and its reply is lost.
   */
  onReply: ((chunk: Buffer) => 'pass' | 'drop') | null;
  /** Cuts all open connections. */
  cut(): void;
  /** Stops forwarding in both directions without closing; new connections are accepted and hang. */
  stall(): void;
  /** Like `stall` for the open connections only: those that open later get through. */
  stallOpen(): void;
  resume(): void;
  /** Refuses new connections and cuts the open ones, like a server that is down. */
  refuse(): void;
  accept(): void;
  close(): Promise<void>;
}

const HOST = '127.0.0.1';

/**
 * Starts a proxy on a free port. Its server need not run yet. `to` is read for each connection: a changing one makes the
 * proxy a balancer. End it with `close`.
 * @param delayMs how long everything takes, each way
 */
export async function startProxy(
  to: { readonly host?: string; readonly port: number },
  delayMs = 0,
): Promise<TcpProxy> {
  const proxy = new LoopbackProxy(to, await freePort(), delayMs);
  await proxy.listening();
  return proxy;
}

class LoopbackProxy implements TcpProxy {
  onReply: ((chunk: Buffer) => 'pass' | 'drop') | null = null;
  readonly #connections = new Set<ProxiedConnection>();
  readonly #server = createServer({ allowHalfOpen: true }, (client) => this.#connect(client));
  #isStalled = false;

  constructor(
    private readonly to: { readonly host?: string; readonly port: number },
    readonly port: number,
    private readonly delayMs: number,
  ) {}

  get connections(): number {
    return this.#connections.size;
  }

  async listening(): Promise<void> {
    this.accept();
    await once(this.#server, 'listening');
  }

  cut(): void {
    for (const connection of this.#connections) connection.cut();
  }

  stall(): void {
    this.#isStalled = true;
    this.stallOpen();
  }

  stallOpen(): void {
    for (const connection of this.#connections) connection.stall();
  }

  resume(): void {
    this.#isStalled = false;
    for (const connection of this.#connections) connection.resume();
  }

  refuse(): void {
    this.#server.close();
    this.cut();
  }

  accept(): void {
    if (!this.#server.listening) this.#server.listen(this.port, HOST);
  }

  async close(): Promise<void> {
    this.refuse();
    await Promise.all([...this.#connections].map(({ closed }) => closed));
  }

  #connect(client: Socket): void {
    const { host = HOST, port } = this.to;
    const server = connect({ host, port, allowHalfOpen: true });
    const connection = new ProxiedConnection(client, server, (chunk) => this.onReply?.(chunk) ?? 'pass', this.delayMs);
    if (this.#isStalled) connection.stall();
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
  }
}

/** A connection of a client and its connection to the server. */
class ProxiedConnection {
  readonly closed: Promise<unknown>;
  #isStalled = false;

  constructor(
    private readonly client: Socket,
    private readonly server: Socket,
    onReply: (chunk: Buffer) => 'pass' | 'drop',
    private readonly delayMs: number,
  ) {
    this.#forward(client, server, () => 'pass');
    this.#forward(server, client, onReply);
    this.closed = Promise.all([client, server].map((side) => new Promise((resolve) => side.once('close', resolve))));
  }

  cut(): void {
    this.client.destroy();
    this.server.destroy();
  }

  stall(): void {
    this.#isStalled = true;
    this.client.pause();
    this.server.pause();
  }

  resume(): void {
    this.#isStalled = false;
    this.#resumeReading(this.client, this.server);
    this.#resumeReading(this.server, this.client);
  }

  #forward(from: Socket, to: Socket, judge: (chunk: Buffer) => 'pass' | 'drop'): void {
    from.on('data', (chunk: Buffer) => {
      if (judge(chunk) === 'drop') return this.#drop();
      this.#later(() => to.writable && !to.write(chunk) && from.pause());
    });
    to.on('drain', () => this.#resumeReading(from, to));
    from.on('end', () => this.#later(() => to.end()));
    // 'close' follows and reports the error.
    from.on('error', () => undefined);
    // Without an error, bytes that were written already still reach the other side.
    from.on('close', (hadError) => this.#later(() => (hadError ? to.destroy() : to.destroySoon())));
  }

  #later(call: () => void): void {
    if (this.delayMs === 0) call();
    else setTimeout(call, this.delayMs);
  }

  /** The client still gets the chunks before. */
  #drop(): void {
    this.server.destroy();
    this.client.destroySoon();
  }

  #resumeReading(from: Socket, to: Socket): void {
    if (!this.#isStalled && !to.writableNeedDrain) from.resume();
  }
}
