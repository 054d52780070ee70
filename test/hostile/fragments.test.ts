import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { Polling } from '../support/polling.js';
import { encodeFrame, OPCODE, RawSocket } from '../support/raw-socket.js';
import { until } from '../support/until.js';

const FRAGMENTS_MAX = 16;
const KIB = 1024;
/** Long enough for pieces to arrive one by one. */
const PIECES = 3_000;

let gateway: GatewayProcess;
let address = 0;

beforeAll(async () => {
  gateway = await startGateway({ TRUST_PROXY: 'loopback' });
});

afterAll(stopAll);

/** Headers of a client at a new address. */
function stranger(): Record<string, string> {
  return { 'X-Forwarded-For': `203.0.113.${(address += 1)}` };
}

async function suspected(): Promise<number> {
  const kinds = [...(await readMetrics(gateway.url))].filter(([name]) =>
    name.startsWith('tallycast_suspicious_total{'),
  );
  return kinds.reduce((sum, [, count]) => sum + count, 0);
}

/** Frames of a message that is never complete. */
function fragments(count: number, text = 'x'): Buffer {
  const frames = Array.from({ length: count }, (_, i) =>
    encodeFrame(text, { fin: false, opcode: i === 0 ? OPCODE.text : OPCODE.continuation }),
  );
  return Buffer.concat(frames);
}

/** Sends each in its own segment, after the gateway has read the previous one. */
async function writeSingly(raw: RawSocket, bytes: Buffer, count: number): Promise<void> {
  raw.socket.setNoDelay(true);
  for (let i = 0; i < count && !raw.socket.destroyed; i++) {
    await raw.flushed(bytes.subarray(i, i + 1));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('messages in fragments', () => {
  it('a connection that sends a message in more than 16 fragments is ended, before its handshake and after it', async () => {
    for (const connect of [RawSocket.open(gateway.url, undefined, stranger()), RawSocket.connect(gateway.url)]) {
      const raw = await connect;
      const before = await suspected();
      raw.write(fragments(FRAGMENTS_MAX + 1));
      expect(await raw.closed).toBe(1008);
      expect(await suspected()).toBe(before + 1);
    }
  });

  it('a connection that sends pings between the fragments of a message is ended', async () => {
    const raw = await RawSocket.connect(gateway.url, '', stranger());
    const fragments = Array.from({ length: FRAGMENTS_MAX + 1 }, (_, i) => [
      encodeFrame('x', { fin: false, opcode: i === 0 ? OPCODE.text : OPCODE.continuation }),
      encodeFrame('', { opcode: OPCODE.ping }),
    ]);
    raw.write(Buffer.concat(fragments.flat()));
    expect(await raw.closed).toBe(1008);
  });

  it('a connection that sends a message byte by byte is ended', async () => {
    const raw = await RawSocket.connect(gateway.url, '', stranger());
    await writeSingly(raw, encodeFrame(Buffer.alloc(60 * KIB, 'x')), PIECES);
    await raw.closed;
  });
});

describe('before the end of the handshake', () => {
  it.each([
    ['more than 64 KiB in one frame', () => encodeFrame(Buffer.alloc(65 * KIB, 'x'))],
    ['half a frame of more than 64 KiB', () => encodeFrame(Buffer.alloc(65 * KIB, 'x'), { length: 200 * KIB })],
    ['packets that are no handshake', () => Buffer.concat(Array<Buffer>(20_000).fill(encodeFrame('6')))],
  ])('a connection that sends %s before the end of its handshake is ended', async (_title, bytes) => {
    const before = await suspected();
    const raw = await RawSocket.open(gateway.url, undefined, stranger());
    raw.write(bytes());
    await raw.closed;
    expect(await suspected()).toBe(before + 1);
  });

  it('a connection that sends an incomplete head byte by byte before its handshake is ended', async () => {
    const raw = await RawSocket.open(gateway.url, undefined, stranger());
    await writeSingly(raw, encodeFrame(Buffer.alloc(60 * KIB, 'x')), PIECES);
    await raw.closed;
  });
});

describe('a handshake in fragments', () => {
  it('a connection with a handshake of 16 KiB in 16 fragments stays open', async () => {
    const raw = await RawSocket.open(gateway.url, undefined, stranger());
    const text = Buffer.from(`40{"token":"${'x'.repeat(15 * KIB)}"}`);
    const connected = raw.nextMessage((message) => message.startsWith('40'));
    for (let i = 0; i < FRAGMENTS_MAX; i++) {
      const opcode = i === 0 ? OPCODE.text : OPCODE.continuation;
      const fin = i === FRAGMENTS_MAX - 1;
      raw.write(encodeFrame(text.subarray(i * KIB, fin ? undefined : (i + 1) * KIB), { opcode, fin }));
    }
    await connected;
    raw.destroy();
  });
});

describe('requests of long-polling', () => {
  it('a request of long-polling is ended if its body arrives in more pieces than any client needs', async () => {
    const { url } = await Polling.connect(gateway.url);
    const piece = Buffer.from('1\r\nx\r\n');
    let ended = false;
    const post = request(url, { method: 'POST', headers: { 'Transfer-Encoding': 'chunked' }, agent: false });
    post.on('error', () => undefined).on('close', () => (ended = true));
    post.flushHeaders();
    await until(() => post.socket?.writable === true, 'a connection');
    for (let i = 0; i < 20; i++) post.socket!.write(Buffer.concat(Array<Buffer>(200).fill(piece)));
    await until(() => ended, 'the request has ended');
  });
});
