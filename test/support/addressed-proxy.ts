import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * Starts a balancer on 127.0.0.1 that reports one address for all its clients, because a gateway exempts loopback from its
 * limits by address. The gateway behind it needs `TRUST_PROXY=loopback`.
 * @param path the balancer's own path, such as /live, which it removes from URLs; `''` for none
 */
export async function startAddressedProxy(
  gateway: { readonly port: number },
  address: string,
  path = '',
): Promise<{ readonly url: string; close(): void }> {
  const sockets = new Set<Duplex>();
  const forward = (incoming: IncomingMessage) => {
    const headers = { ...incoming.headers, 'x-forwarded-for': address };
    const target = incoming.url!.startsWith(`${path}/`) ? incoming.url!.slice(path.length) : '/outside';
    return request({ host: '127.0.0.1', port: gateway.port, method: incoming.method, path: target, headers });
  };
  const server: Server = createServer((incoming, outgoing) => {
    const onward = forward(incoming);
    onward.on('error', () => outgoing.destroy());
    onward.on('response', (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(outgoing);
    });
    outgoing.on('close', () => onward.destroy());
    incoming.pipe(onward);
  });
  server.on('upgrade', (incoming: IncomingMessage, client: Duplex) => {
    const onward = forward(incoming);
    onward.on('error', () => client.destroy());
    onward.on('upgrade', (answer: IncomingMessage, upstream: Duplex, head: Buffer) => {
      const lines = answer.rawHeaders.flatMap((name, i, all) => (i % 2 === 0 ? [`${name}: ${all[i + 1]}`] : []));
      client.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`);
      client.write(head);
      for (const [from, to] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        from.pipe(to);
        from.on('error', () => to.destroy());
        from.on('close', () => to.destroy());
      }
    });
    onward.end();
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
