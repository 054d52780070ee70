import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect, type Socket } from 'node:net';

/** A proxy in front of a gateway that passes HTTP and, until it is told otherwise, no WebSocket. */
export interface Proxy {
  readonly url: string;
  /** Upgrades that were asked for. */
  readonly upgrades: number;
  allowSockets(): void;
  close(): Promise<void>;
}

export async function proxyWithoutSockets(port: number): Promise<Proxy> {
  let upgrades = 0;
  let allowed = false;
  const server = createServer((incoming, outgoing) => {
    const { method, url: path, headers } = incoming;
    const onward = request({ host: '127.0.0.1', port, method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    outgoing.on('close', () => onward.destroy());
    incoming.pipe(onward);
  });
  server.on('upgrade', (incoming, client: Socket, head) => {
    upgrades++;
    if (!allowed) return client.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
    const gateway = connect(port, '127.0.0.1');
    const lines = Object.entries(incoming.headers).map(([name, value]) => `${name}: ${String(value)}`);
    gateway.write(`GET ${incoming.url ?? '/'} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    gateway.write(head);
    gateway.pipe(client).pipe(gateway);
    gateway.on('error', () => client.destroy());
    client.on('error', () => gateway.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get upgrades() {
      return upgrades;
    },
    allowSockets() {
      allowed = true;
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
