import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { connect as tcp } from 'node:net';
import { closeClients, connect } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { Polling } from '../support/polling.js';
import { Random } from '../support/random.js';
import { encodeFrame, OPCODE, RawSocket } from '../support/raw-socket.js';
import { until } from '../support/until.js';

const SEED = Number(process.env['TEST_SEED'] ?? 20_260_801);

let gateway: GatewayProcess;
/** One whose deadlines last so long that a slow machine does not meet them. */
let patient: GatewayProcess;
let silent: RawSocket;

beforeAll(async () => {
  const env = { MAX_OPS_PER_CONNECTION: '0' };
  [gateway, patient] = await Promise.all([startGateway(env), startGateway(env, { timeScale: 10 })]);
  silent = await RawSocket.open(gateway.url);
});

afterAll(async () => {
  await closeClients();
  await stopAll();
});

/** Whatever was sent, others are served as before. */
afterEach(async () => {
  const health = await fetch(`${gateway.url}/healthz`);
  expect(health.status).toBe(200);
  const socket = connect(gateway.url);
  expect(await socket.emitWithAck('like', { post: 'healthy' })).toMatchObject({ ok: true, applied: true });
  socket.close();
});

const random = new Random(SEED);

function randomBytes(most: number): Buffer {
  return Buffer.from(Array.from({ length: random.below(most) + 1 }, () => random.below(256)));
}

/** A WebSocket that asks to take over the session of Engine.IO. */
function upgradeOf({ url }: Polling): Promise<RawSocket> {
  const sid = new URL(url).searchParams.get('sid')!;
  return RawSocket.open(gateway.url, `/socket.io/?EIO=4&transport=websocket&sid=${sid}`);
}

/** Writes to the port and hangs up; resolves when the gateway has, too. */
async function throwAt(...parts: readonly (string | Buffer)[]): Promise<void> {
  const socket = tcp(gateway.port, '127.0.0.1');
  // A connection that is cut is as good as one that is closed.
  socket.on('error', () => undefined);
  socket.resume();
  for (const part of parts) socket.write(part);
  socket.end();
  await once(socket, 'close');
}

const UPGRADE =
  'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

describe(`garbage (TEST_SEED=${SEED})`, () => {
  it('random bytes on the port', async () => {
    for (let i = 0; i < 200; i++) await throwAt(randomBytes(4_000));
  });

  it('random bytes in place of headers, of a body and of frames', async () => {
    for (let i = 0; i < 100; i++) {
      await throwAt('GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n', randomBytes(500), '\r\n\r\n');
      await throwAt('PUT /v1/x/likes HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n', randomBytes(500));
      await throwAt(UPGRADE, randomBytes(2_000));
      await throwAt(UPGRADE, encodeFrame('40'), randomBytes(2_000));
    }
  });

  it('a request or a frame that ends in the middle, wherever that is', async () => {
    const whole = Buffer.concat([Buffer.from(UPGRADE), encodeFrame('40{}'), encodeFrame('421["like",{"post":"half"}')]);
    for (let length = 1; length < whole.length; length += 3) await throwAt(whole.subarray(0, length));
  });

  it('packets put together at random', async () => {
    const words = [
      ...['0', '1', '2', '3', '4', '5', '6', '40', '41', '42', '43', '44', '45', '46', 'b', '-', '/', ',', '\x1e', '9'],
      ...['["like",', '{"post":', '"x"', '}', ']', '[', '{', '"', 'null', '1e309', '"__proto__"', ':', '\\u0000', '😀'],
      ...['["subscribe",{"posts":["x"]}]', '{"actor":"ada"}', '{"_placeholder":true,"num":0}', '"disconnect"'],
    ];
    for (let connection = 0; connection < 300; connection++) {
      const raw = await RawSocket.open(gateway.url);
      if (connection % 3 > 0) raw.send('40');
      for (let i = 0; i < 20; i++) {
        const text = Array.from({ length: random.below(12) + 1 }, () => random.pick(words)).join('');
        raw.write(encodeFrame(connection % 2 === 0 ? text : `4${text}`, { opcode: random.pick([1, 1, 1, 2]) }));
      }
      raw.write(encodeFrame('', { opcode: OPCODE.close }));
      await raw.closed;
    }
  });

  it('leaves no socket and no watched post behind', async () => {
    await until(async () => {
      const metrics = await readMetrics(gateway.url);
      return metrics.get('tallycast_sockets') === 0 && metrics.get('tallycast_watched_posts') === 0;
    }, 'nobody is left');
  });
});

/** https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1 */
const BROKEN = 1002;
const NOT_UTF8 = 1007;
const TOO_BIG = 1009;

/** A message may come in this many. */
const PARTS = 16;

describe('a frame that breaks the WebSocket protocol ends its connection, with the code', () => {
  const event = '420["like",{"post":"frame"}]';

  it.each<[string, number, Buffer[]]>([
    ['without a mask', BROKEN, [encodeFrame(event, { masked: false })]],
    ['compressed, which was not agreed on', BROKEN, [encodeFrame(Buffer.alloc(1_000, 'U'), { rsv1: true })]],
    ['of an unknown kind', BROKEN, [encodeFrame(event, { opcode: 3 })]],
    ['of an unknown kind of control', BROKEN, [encodeFrame('', { opcode: 11 })]],
    ['that continues nothing', BROKEN, [encodeFrame(event, { opcode: OPCODE.continuation })]],
    ['between the parts of another', BROKEN, [encodeFrame('42', { fin: false }), encodeFrame(event)]],
    ['of control in parts', BROKEN, [encodeFrame('x', { opcode: OPCODE.ping, fin: false })]],
    ['of control with 126 bytes', BROKEN, [encodeFrame(Buffer.alloc(126), { opcode: OPCODE.ping })]],
    ['that closes with one byte', BROKEN, [encodeFrame('x', { opcode: OPCODE.close })]],
    ['that closes with the code 0', BROKEN, [encodeFrame(Buffer.alloc(2), { opcode: OPCODE.close })]],
    [
      'that closes with a reason that is not UTF-8',
      NOT_UTF8,
      [encodeFrame(Buffer.of(3, 232, 255), { opcode: OPCODE.close })],
    ],
    ['of text that is not UTF-8', NOT_UTF8, [encodeFrame(Buffer.concat([Buffer.from(event), Buffer.of(0xff)]))]],
    [
      'of text with half an emoji',
      NOT_UTF8,
      [encodeFrame(Buffer.concat([Buffer.from(event), Buffer.of(0xed, 0xa0, 0xbd)]))],
    ],
    ['of text cut within a character', NOT_UTF8, [encodeFrame(Buffer.of(0x34, 0xe2, 0x82))]],
    ['that announces 256 KiB and a byte', TOO_BIG, [encodeFrame(event, { length: 256 * 1024 + 1 })]],
    ['that announces 2^53 bytes', TOO_BIG, [encodeFrame(event, { length: 2 ** 53 })]],
    [
      'in parts of 100 KB, of which there are three',
      TOO_BIG,
      Array(3)
        .fill(null)
        .map((_, i) =>
          encodeFrame(Buffer.alloc(100_000, 'x'), { fin: false, opcode: i === 0 ? OPCODE.text : OPCODE.continuation }),
        ),
    ],
  ])('one %s', async (_title, code, frames) => {
    const raw = await RawSocket.connect(gateway.url);
    for (const frame of frames) raw.write(frame);
    expect(await raw.closed).toBe(code);
  });

  it('one in 16 parts, with pings between, is none of these', async () => {
    const raw = await RawSocket.connect(gateway.url);
    const answered = raw.nextMessage((text) => text.startsWith('430'));
    const bytes = Buffer.from(event);
    for (let i = 0; i < PARTS; i++) {
      const opcode = i === 0 ? OPCODE.text : OPCODE.continuation;
      const fin = i === PARTS - 1;
      raw.write(encodeFrame(fin ? bytes.subarray(i) : bytes.subarray(i, i + 1), { opcode, fin }));
      raw.write(encodeFrame('', { opcode: OPCODE.ping }));
    }
    expect(await answered).toContain('"applied":true');
    raw.destroy();
  });
});

describe('a connection that does not behave', () => {
  it('and leaves right after it asked to watch is not counted as a viewer', async () => {
    for (let i = 0; i < 50; i++) {
      const raw = await RawSocket.connect(gateway.url);
      raw.send('42["view",{"post":"gone"}]');
      raw.send('42["subscribe",{"posts":["gone"]}]');
      if (i % 2 === 0) raw.send('41');
      raw.send('42["subscribe",{"posts":["gone"]}]');
      raw.write(encodeFrame('', { opcode: OPCODE.close }));
      await raw.closed;
    }
    await until(async () => {
      const metrics = await readMetrics(gateway.url);
      return metrics.get('tallycast_pending_operations') === 0 && metrics.get('tallycast_sockets') === 0;
    }, 'all have left');
    const metrics = await readMetrics(gateway.url);
    expect(metrics.get('tallycast_watched_posts')).toBe(0);
    expect(metrics.get('tallycast_viewer_connections')).toBe(0);
  });

  it('and asks a great deal without reading the answers is cut', async () => {
    const raw = await RawSocket.connect(gateway.url);
    raw.pause();
    const question = encodeFrame(`421["${'x'.repeat(200)}",{}]`);
    const many = Buffer.concat(Array<Buffer>(1_000).fill(question));
    await until(async () => {
      raw.write(many);
      return (await readMetrics(gateway.url)).get('tallycast_sockets') === 0;
    }, 'it is cut');
    raw.destroy();
  });

  it('but reads what it is told may ask 5,000 things at once', async () => {
    const socket = connect(patient.url);
    const asked = Array.from({ length: 5_000 }, (_, i) => socket.emitWithAck('view', { post: `many-${i}` }));
    expect((await Promise.all(asked)).filter(({ ok }) => ok)).toHaveLength(5_000);
    socket.close();
  });

  it('and pings without reading the pongs takes no memory', async () => {
    const resident = async (): Promise<number> =>
      (await readMetrics(gateway.url)).get('process_resident_memory_bytes')!;
    const before = await resident();
    const raw = await RawSocket.connect(gateway.url);
    raw.pause();
    const pings = Buffer.concat(Array<Buffer>(1_000).fill(encodeFrame(Buffer.alloc(125), { opcode: OPCODE.ping })));
    for (let i = 0; i < 400; i++) await raw.flushed(pings);
    // What was kept of each would be 4 bytes for each of these 52 MB.
    expect((await resident()) - before).toBeLessThan(80e6);
    raw.resume();
    expect(await raw.emitWithAck('2#["unsubscribe",{"posts":["x"]}]')).toEqual({ ok: true });
    raw.destroy();
  });

  it('and probes more than once before it upgrades does not get to', async () => {
    const polling = await Polling.connect(gateway.url);
    const raw = await upgradeOf(polling);
    raw.send('2probe');
    raw.send('2probe');
    expect(await raw.closed).toBeNull();
    expect(await polling.emitWithAck(['2#["unsubscribe",{"posts":["x"]}]'])).toEqual([{ ok: true }]);
  });

  it('but probes once is upgraded, and its pings are answered', async () => {
    const polling = await Polling.connect(gateway.url);
    const raw = await upgradeOf(polling);
    const probed = raw.nextMessage((text) => text === '3probe');
    raw.send('2probe');
    await probed;
    raw.send('5');
    const ponged = raw.nextPong();
    raw.write(encodeFrame('still there?', { opcode: OPCODE.ping }));
    expect(await ponged).toBe('still there?');
    expect(await raw.emitWithAck('2#["unsubscribe",{"posts":["x"]}]')).toEqual({ ok: true });
    raw.destroy();
  });

  it('300 that never finish their request keep nobody out', async () => {
    const sockets = Array.from({ length: 300 }, () => tcp(gateway.port, '127.0.0.1'));
    for (const socket of sockets) socket.on('error', () => undefined).write('GET / HTTP/1.1\r\nX-Slow: ');
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200);
    for (const socket of sockets) socket.destroy();
  });

  it('and says nothing is closed, as it has 10 s to get through its handshake', async () => {
    await silent.closed;
  });

  it('none of this is worth a warning in the log', () => {
    const levels = gateway.log.map((line) => (JSON.parse(line) as { level: number }).level);
    expect(levels.filter((level) => level >= 40)).toEqual([]);
  });
});
