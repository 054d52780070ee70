import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { freePort } from './free-port.js';

/** Stands between a client and a server on 127.0.0.1, for breaking things on purpose. */
export interface TcpProxy {
  readonly port: number;
  /** Open now. */
  readonly connections: number;
  /**
   * Called for each chunk on its way back from the server to the client, which may hold part of a reply or several.
   * 'drop' cuts the connection right there, without that chunk: the request was done, its answer is lost.
   */
  onReply: ((chunk: Buffer) => 'pass' | 'drop') | null;
  /** Cuts all connections now. */
  cut(): void;
  /** Stops moving bytes, both ways, without closing; new connections are accepted and hang. */
  stall(): void;
  resume(): void;
  /** Refuses new connections and cuts the present ones, as a server that is gone. */
  refuse(): void;
  accept(): void;
  close(): Promise<void>;
}

const HOST = '127.0.0.1';

/**
 * Starts a proxy in front of a server, which need not be there yet, on a free port. End it with `close`. Where it leads is
 * read again for each connection: one that changes makes it a balancer.
 */
export async function startProxy(to: { readonly host?: string; readonly port: number }): Promise<TcpProxy> {
  const proxy = new LoopbackProxy(to, await freePort());
  await proxy.listening();
  return proxy;
}

class LoopbackProxy implements TcpProxy {
  onReply: ((chunk: Buffer) => 'pass' | 'drop') | null = null;
  readonly #links = new Set<Link>();
  readonly #server = createServer({ allowHalfOpen: true }, (client) => this.#link(client));
  #isStalled = false;

  constructor(
    private readonly to: { readonly host?: string; readonly port: number },
    readonly port: number,
  ) {}

  get connections(): number {
    return this.#links.size;
  }

  async listening(): Promise<void> {
    this.accept();
    await once(this.#server, 'listening');
  }

  cut(): void {
    for (const link of this.#links) link.cut();
  }

  stall(): void {
    this.#isStalled = true;
    for (const link of this.#links) link.stall();
  }

  resume(): void {
    this.#isStalled = false;
    for (const link of this.#links) link.resume();
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
    await Promise.all([...this.#links].map(({ closed }) => closed));
  }

  #link(client: Socket): void {
    const { host = HOST, port } = this.to;
    const server = connect({ host, port, allowHalfOpen: true });
    const link = new Link(client, server, (chunk) => this.onReply?.(chunk) ?? 'pass');
    if (this.#isStalled) link.stall();
    this.#links.add(link);
    void link.closed.then(() => this.#links.delete(link));
  }
}

/** One connection of a client and the one to the server that was made for it. */
class Link {
  readonly closed: Promise<unknown>;
  #isStalled = false;

  constructor(
    private readonly client: Socket,
    private readonly server: Socket,
    onReply: (chunk: Buffer) => 'pass' | 'drop',
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
    this.#read(this.client, this.server);
    this.#read(this.server, this.client);
  }

  #forward(from: Socket, to: Socket, judge: (chunk: Buffer) => 'pass' | 'drop'): void {
    from.on('data', (chunk: Buffer) => {
      if (judge(chunk) === 'drop') return this.#drop();
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => this.#read(from, to));
    from.on('end', () => to.end());
    // What it is comes with 'close'.
    from.on('error', () => undefined);
    // In good order what the other side has been sent already still gets there.
    from.on('close', (hadError) => (hadError ? to.destroy() : to.destroySoon()));
  }

  /** The client still gets what was passed before. */
  #drop(): void {
    this.server.destroy();
    this.client.destroySoon();
  }

  #read(from: Socket, to: Socket): void {
    if (!this.#isStalled && !to.writableNeedDrain) from.resume();
  }
}
