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
/** A gateway whose deadlines are too long for a slow machine to miss. */
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

/** The gateway serves other clients as before, whatever a test has sent. */
afterEach(async () => {
  const health = await fetch(`${gateway.url}/healthz`);
  expect(health.status).toBe(200);
  const socket = connect(gateway.url);
  expect(await socket.emitWithAck('like', { post: 'healthy' })).toMatchObject({ ok: true, applied: true });
  socket.close();
});

const random = new Random(SEED);

function randomBytes(lengthMax: number): Buffer {
  return Buffer.from(Array.from({ length: random.below(lengthMax) + 1 }, () => random.below(256)));
}

/** Opens a WebSocket that requests the upgrade of an Engine.IO session. */
function openUpgrade({ url }: Polling): Promise<RawSocket> {
  const sid = new URL(url).searchParams.get('sid')!;
  return RawSocket.open(gateway.url, `/socket.io/?EIO=4&transport=websocket&sid=${sid}`);
}

/** Writes to the port and ends the connection. Resolves when the gateway has ended it, too. */
async function writeToPort(...chunks: readonly (string | Buffer)[]): Promise<void> {
  const socket = tcp(gateway.port, '127.0.0.1');
  // The gateway may reset the connection instead of closing it.
  socket.on('error', () => undefined);
  socket.resume();
  for (const chunk of chunks) socket.write(chunk);
  socket.end();
  await once(socket, 'close');
}

const UPGRADE =
  'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

describe(`garbage (TEST_SEED=${SEED})`, () => {
  it('the gateway survives random bytes on its port', async () => {
    for (let i = 0; i < 200; i++) await writeToPort(randomBytes(4_000));
  });

  it('the gateway survives random bytes instead of headers, a body and frames', async () => {
    for (let i = 0; i < 100; i++) {
      await writeToPort('GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n', randomBytes(500), '\r\n\r\n');
      await writeToPort('PUT /v1/x/likes HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n', randomBytes(500));
      await writeToPort(UPGRADE, randomBytes(2_000));
      await writeToPort(UPGRADE, encodeFrame('40'), randomBytes(2_000));
    }
  });

  it('the gateway survives requests and frames that are cut at any byte', async () => {
    const complete = Buffer.concat([
      Buffer.from(UPGRADE),
      encodeFrame('40{}'),
      encodeFrame('421["like",{"post":"half"}'),
    ]);
    for (let length = 1; length < complete.length; length += 3) await writeToPort(complete.subarray(0, length));
  });

  it('the gateway survives packets of random tokens', async () => {
    const tokens = [
      ...['0', '1', '2', '3', '4', '5', '6', '40', '41', '42', '43', '44', '45', '46', 'b', '-', '/', ',', '\x1e', '9'],
      ...['["like",', '{"post":', '"x"', '}', ']', '[', '{', '"', 'null', '1e309', '"__proto__"', ':', '\\u0000', '😀'],
      ...['["subscribe",{"posts":["x"]}]', '{"actor":"ada"}', '{"_placeholder":true,"num":0}', '"disconnect"'],
    ];
    for (let connection = 0; connection < 300; connection++) {
      const raw = await RawSocket.open(gateway.url);
      if (connection % 3 > 0) raw.send('40');
      for (let i = 0; i < 20; i++) {
        const text = Array.from({ length: random.below(12) + 1 }, () => random.pick(tokens)).join('');
        raw.write(encodeFrame(connection % 2 === 0 ? text : `4${text}`, { opcode: random.pick([1, 1, 1, 2]) }));
      }
      raw.write(encodeFrame('', { opcode: OPCODE.close }));
      await raw.closed;
    }
  });

  it('garbage leaves no socket and no watched post behind', async () => {
    await until(async () => {
      const metrics = await readMetrics(gateway.url);
      return metrics.get('tallycast_sockets') === 0 && metrics.get('tallycast_watched_posts') === 0;
    }, 'no socket is left');
  });
});

/** https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1 */
const BROKEN = 1002;
const NOT_UTF8 = 1007;
const TOO_BIG = 1009;

/** Fragments of one message. */
const FRAGMENTS = 16;

describe('a frame that breaks the WebSocket protocol', () => {
  const event = '420["like",{"post":"frame"}]';

  it.each<[string, number, Buffer[]]>([
    ['without a mask', BROKEN, [encodeFrame(event, { masked: false })]],
    ['with compression that was not negotiated', BROKEN, [encodeFrame(Buffer.alloc(1_000, 'U'), { rsv1: true })]],
    ['of an unknown type', BROKEN, [encodeFrame(event, { opcode: 3 })]],
    ['of an unknown control type', BROKEN, [encodeFrame('', { opcode: 11 })]],
    ['that continues nothing', BROKEN, [encodeFrame(event, { opcode: OPCODE.continuation })]],
    ['between the fragments of another', BROKEN, [encodeFrame('42', { fin: false }), encodeFrame(event)]],
    ['of control in fragments', BROKEN, [encodeFrame('x', { opcode: OPCODE.ping, fin: false })]],
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
    ['with a declared length of 256 KiB and a byte', TOO_BIG, [encodeFrame(event, { length: 256 * 1024 + 1 })]],
    ['with a declared length of 2^53 bytes', TOO_BIG, [encodeFrame(event, { length: 2 ** 53 })]],
    [
      'in three fragments of 100 KB',
      TOO_BIG,
      Array(3)
        .fill(null)
        .map((_, i) =>
          encodeFrame(Buffer.alloc(100_000, 'x'), { fin: false, opcode: i === 0 ? OPCODE.text : OPCODE.continuation }),
        ),
    ],
  ])('a frame %s closes its connection with code %i', async (_title, code, frames) => {
    const raw = await RawSocket.connect(gateway.url);
    for (const frame of frames) raw.write(frame);
    expect(await raw.closed).toBe(code);
  });

  it('a message in 16 fragments with pings between them is accepted', async () => {
    const raw = await RawSocket.connect(gateway.url);
    const answered = raw.nextMessage((text) => text.startsWith('430'));
    const bytes = Buffer.from(event);
    for (let i = 0; i < FRAGMENTS; i++) {
      const opcode = i === 0 ? OPCODE.text : OPCODE.continuation;
      const fin = i === FRAGMENTS - 1;
      raw.write(encodeFrame(fin ? bytes.subarray(i) : bytes.subarray(i, i + 1), { opcode, fin }));
      raw.write(encodeFrame('', { opcode: OPCODE.ping }));
    }
    expect(await answered).toContain('"applied":true');
    raw.destroy();
  });
});

describe('a misbehaving connection', () => {
  it('a connection that closes right after its subscription is not counted as a viewer', async () => {
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
    }, 'all connections are closed');
    const metrics = await readMetrics(gateway.url);
    expect(metrics.get('tallycast_watched_posts')).toBe(0);
    expect(metrics.get('tallycast_viewer_connections')).toBe(0);
  });

  it('a connection that sends many events and reads no acknowledgement is closed', async () => {
    const raw = await RawSocket.connect(gateway.url);
    raw.pause();
    const event = encodeFrame(`421["${'x'.repeat(200)}",{}]`);
    const many = Buffer.concat(Array<Buffer>(1_000).fill(event));
    await until(async () => {
      raw.write(many);
      return (await readMetrics(gateway.url)).get('tallycast_sockets') === 0;
    }, 'it is closed');
    raw.destroy();
  });

  it('a connection that reads its acknowledgements may send 5,000 events at once', async () => {
    const socket = connect(patient.url);
    const acknowledgements = Array.from({ length: 5_000 }, (_, i) => socket.emitWithAck('view', { post: `many-${i}` }));
    expect((await Promise.all(acknowledgements)).filter(({ ok }) => ok)).toHaveLength(5_000);
    socket.close();
  });

  it('a connection that sends pings and reads no pong takes no memory', async () => {
    const readResidentBytes = async (): Promise<number> =>
      (await readMetrics(gateway.url)).get('process_resident_memory_bytes')!;
    const before = await readResidentBytes();
    const raw = await RawSocket.connect(gateway.url);
    raw.pause();
    const pings = Buffer.concat(Array<Buffer>(1_000).fill(encodeFrame(Buffer.alloc(125), { opcode: OPCODE.ping })));
    for (let i = 0; i < 400; i++) await raw.flushed(pings);
    // These are 52 MB of pings. Retaining them would take 4 bytes a byte.
    expect((await readResidentBytes()) - before).toBeLessThan(80e6);
    raw.resume();
    expect(await raw.emitWithAck('2#["unsubscribe",{"posts":["x"]}]')).toEqual({ ok: true });
    raw.destroy();
  });

  it('an upgrade that probes more than once is closed, and its session keeps polling', async () => {
    const polling = await Polling.connect(gateway.url);
    const raw = await openUpgrade(polling);
    raw.send('2probe');
    raw.send('2probe');
    expect(await raw.closed).toBeNull();
    expect(await polling.emitWithAck(['2#["unsubscribe",{"posts":["x"]}]'])).toEqual([{ ok: true }]);
  });

  it('a connection that probes once is upgraded, and gets pongs', async () => {
    const polling = await Polling.connect(gateway.url);
    const raw = await openUpgrade(polling);
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

  it('300 connections that never finish their request do not block others', async () => {
    const sockets = Array.from({ length: 300 }, () => tcp(gateway.port, '127.0.0.1'));
    for (const socket of sockets) socket.on('error', () => undefined).write('GET / HTTP/1.1\r\nX-Slow: ');
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200);
    for (const socket of sockets) socket.destroy();
  });

  it('a connection that sends nothing is closed when its handshake times out after 10 s', async () => {
    await silent.closed;
  });

  it('misbehaving connections log no warning', () => {
    const levels = gateway.log.map((line) => (JSON.parse(line) as { level: number }).level);
    expect(levels.filter((level) => level >= 40)).toEqual([]);
  });
});
