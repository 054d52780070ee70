import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { provedShortcuts } from '../../../test/support/proved-shortcuts.js';
import { until } from '../../../test/support/until.js';
import type { LibuvWriteShortcut } from './libuv-writer.js';

/** More than the system takes while nobody reads. */
const PIECE = 1_000_000;
const PIECES = 40;

let libuvWrite: LibuvWriteShortcut;

beforeAll(async () => {
  libuvWrite = (await provedShortcuts()).libuvWrite;
});

afterAll(() => expect(libuvWrite.isOn).toBe(true));

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function connected(): Promise<{ own: Socket; other: Socket }> {
  const server = createServer().listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  const other = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [own] = (await once(server, 'connection')) as [Socket];
  return { own, other };
}

describe('writing past the stream of a TCP socket', () => {
  it("the writer keeps the order of its own writes and the stream's, even while the system accepts no more", async () => {
    const { own, other } = await connected();
    const writer = libuvWrite.open(own)!;
    let waited = false;
    let expected = '';
    for (let i = 0; i < PIECES; i++) {
      const text = `${i}`.padEnd(i % 2 === 0 ? 10 : PIECE, String.fromCharCode(97 + (i % 26)));
      expected += text;
      if (i % 3 === 2 || own.writableLength > 0) own.write(text);
      else writer.write(Buffer.from(text));
      waited ||= writer.hasUnsent;
    }
    expect(waited).toBe(true);
    own.end();
    let received = '';
    for await (const chunk of other) received += String(chunk);
    expect(received === expected).toBe(true);
    expect(writer.hasUnsent).toBe(false);
  });

  it('the writer has nothing queued when the system has accepted everything', async () => {
    const { own, other } = await connected();
    const writer = libuvWrite.open(own)!;
    writer.write(Buffer.from('one piece'));
    writer.write(Buffer.from('and another piece'));
    expect(writer.hasUnsent).toBe(false);
    await until(() => other.bytesRead === 26, 'all have come');
    own.destroy();
  });

  // libuv tries to write twice before a request waits for the system, and may succeed the second time.
  it('the writer continues when a write is complete before its callback has run', async () => {
    const { own, other } = await connected();
    const writer = libuvWrite.open(own)!;
    const { _handle: handle } = own as unknown as { readonly _handle: object };
    Object.defineProperty(handle, 'writeQueueSize', { value: 0 });
    let written = 0;
    for (; !writer.hasUnsent || written % 5 !== 0; written++) writer.write(Buffer.alloc(PIECE));
    other.resume();
    await until(() => other.bytesRead === written * PIECE, 'all have come');
    await until(() => !writer.hasUnsent, 'nothing waits');
    expect(own.destroyed).toBe(false);
    own.destroy();
  });

  it('the writer ends a connection that its peer has closed', async () => {
    const { own, other } = await connected();
    const writer = libuvWrite.open(own)!;
    own.on('error', () => undefined);
    const closed = new Promise((resolve) => void own.once('close', resolve));
    other.resetAndDestroy();
    while (!own.destroyed) {
      writer.write(Buffer.from('bytes'));
      await new Promise((resolve) => void setImmediate(resolve));
    }
    await closed;
  });

  it('the writer ends a connection that is reset while bytes are queued', async () => {
    const { own, other } = await connected();
    const writer = libuvWrite.open(own)!;
    own.on('error', () => undefined);
    other.pause();
    while (!writer.hasUnsent) writer.write(Buffer.alloc(PIECE));
    const closed = new Promise((resolve) => void own.once('close', resolve));
    other.resetAndDestroy();
    await closed;
  });

  it('a closed socket has no writer', async () => {
    const { own } = await connected();
    expect(libuvWrite.open(own)).not.toBeNull();
    own.destroy();
    expect(libuvWrite.open(own)).toBeNull();
  });
});
