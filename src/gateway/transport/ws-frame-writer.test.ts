import { expect, test } from '@jest/globals';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { WsFrameWriter } from './ws-frame-writer.js';

/** Where the length of a frame begins to take more bytes, and around it. */
const LENGTHS = [1, 2, 100, 124, 125, 126, 127, 128, 1_000, 65_534, 65_535, 65_536, 65_537, 100_000];

test('a WebSocket client reads the encoded frames', async () => {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const messages: string[] = [];
  client.on('message', (data: Buffer) => messages.push(data.toString()));
  const [socket] = (await once(server, 'connection')) as [WebSocket];
  const texts = LENGTHS.map((length) => 'abcd'.repeat(length).slice(0, length));
  const writer = new WsFrameWriter();
  for (const text of texts) {
    writer.frame('', text);
    writer.frame('4', { writeTo: (target) => void target.text(text.slice(1)) }, ']');
  }
  (socket as unknown as { _socket: { write(bytes: Buffer): void } })._socket.write(writer.take());
  socket.close(1000);
  await once(client, 'close');
  server.close();
  const sent = texts.flatMap((text) => [text, `4${text.slice(1)}]`]);
  expect(messages.length).toBe(sent.length);
  messages.forEach((message, i) => expect(message === sent[i]).toBe(true));
});
