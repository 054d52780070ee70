import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect, type Socket } from 'node:net';

/** A proxy in front of a gateway that forwards HTTP, and WebSockets only after `allowSockets`. */
export interface SocketlessProxy {
  readonly url: string;
  /** Upgrade requests, forwarded or not. */
  readonly upgrades: number;
  /** Open WebSockets and event streams. */
  readonly sockets: number;
  readonly streams: number;
  allowSockets(): void;
  /** Also closes open ones. */
  blockSockets(): void;
  /** Leaves upgrade requests without an answer. */
  swallowSockets(): void;
  close(): Promise<void>;
}

export async function startSocketlessProxy(port: number): Promise<SocketlessProxy> {
  let upgrades = 0;
  let fate: 'blocked' | 'swallowed' | 'allowed' = 'blocked';
  const sockets = new Set<Socket>();
  const streams = new Set<object>();
  const server = createServer((incoming, outgoing) => {
    const { method, url: path, headers } = incoming;
    const onward = request({ host: '127.0.0.1', port, method, path, headers }, (answer) => {
      if (answer.headers['content-type']?.startsWith('text/event-stream')) streams.add(outgoing);
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    outgoing.on('close', () => {
      streams.delete(outgoing);
      onward.destroy();
    });
    incoming.pipe(onward);
  });
  server.on('upgrade', (incoming, client: Socket, head) => {
    upgrades++;
    if (fate === 'blocked') return client.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
    if (fate === 'allowed') pipeBoth(client, incoming, head, port);
    else client.on('error', () => client.destroy());
    sockets.add(client);
    client.on('close', () => sockets.delete(client));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const blockSockets = (): void => {
    fate = 'blocked';
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get upgrades() {
      return upgrades;
    },
    get sockets() {
      return sockets.size;
    },
    get streams() {
      return streams.size;
    },
    allowSockets() {
      fate = 'allowed';
    },
    blockSockets,
    swallowSockets() {
      fate = 'swallowed';
    },
    async close() {
      blockSockets();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** Forwards bytes in both directions, starting with the upgrade request. */
function pipeBoth(client: Socket, { url, headers }: IncomingMessage, head: Buffer, port: number): void {
  const gateway = connect(port, '127.0.0.1');
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}`);
  gateway.write(`GET ${url ?? '/'} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
  gateway.write(head);
  gateway.pipe(client).pipe(gateway);
  gateway.on('error', () => client.destroy());
  client.on('error', () => gateway.destroy());
  client.on('close', () => gateway.destroy());
}
