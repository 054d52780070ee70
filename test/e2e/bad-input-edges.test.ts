import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { closeClients, connect, expectOk, readTotals } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { RawSocket } from '../support/raw-socket.js';
import { until } from '../support/until.js';

const SEQ_MAX = Number.MAX_SAFE_INTEGER;

/** Unusual but valid ids. */
const IDS = [
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'prototype', 'null', 'undefined', 'NaN', 'true'],
  ...['0', '-1', '9223372036854775807', '-9223372036854775808', '1e309', '00', 'a:b.c_d-1', 'likes', 'views', 'live'],
  ...['...', '.a', 'a..', ':', '-', '_', 'x', 'x'.repeat(64), 'x'.repeat(63)],
];

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ MAX_OPS_PER_CONNECTION: '0' });
});

afterAll(async () => {
  await closeClients();
  await stopAll();
});

async function operations(kind: string, result: string): Promise<number> {
  const metrics = await readMetrics(gateway.url);
  return metrics.get(`tallycast_operations_total{kind="${kind}",result="${result}"}`) ?? 0;
}

async function read(post: string): Promise<{ readonly live: number }> {
  const response = await fetch(`${gateway.url}/v1/counts?posts=${post}`);
  const { counts } = (await response.json()) as { counts: [{ readonly live: number }] };
  return counts[0];
}

describe('unusual but valid input', () => {
  it.each(IDS)('the id %s is valid', async (post) => {
    const socket = connect(gateway.url, { actor: 'ada' });
    const mine = connect(gateway.url, { actor: 'ada' });
    expectOk(await mine.emitWithAck('subscribe', { posts: [post] }));
    const expected = new Promise((resolve) => mine.once('mine', resolve));
    expect(await socket.emitWithAck('like', { post })).toMatchObject({
      applied: true,
      on: true,
      counts: { post, likes: 1 },
    });
    expect(await expected).toEqual({ post, metric: 'likes', on: true });
    expect(await socket.emitWithAck('view', { post })).toMatchObject({ applied: true, counts: { post, views: 1 } });
    const { counts } = expectOk(await mine.emitWithAck('subscribe', { posts: [post, post] }));
    expect(counts).toMatchObject([{ post, likes: 1, views: 1, live: 1, mine: ['likes'] }]);
  });

  it('posts with a current version in `known` are left out of a snapshot', async () => {
    const socket = connect(gateway.url, { actor: 'ada' });
    const first = expectOk(await socket.emitWithAck('subscribe', { posts: IDS }));
    expect(first.counts.map(({ post }) => post)).toEqual(IDS);
    expectOk(await socket.emitWithAck('unsubscribe', { posts: IDS }));
    const known = first.counts.map(({ post, e, v }) => `"${post}":["${e}",${v}]`).join();
    const raw = await RawSocket.connect(gateway.url);
    const answer = await raw.emitWithAck(`2#["subscribe",{"posts":${JSON.stringify(IDS)},"known":{${known}}}]`);
    expect(answer).toMatchObject({ ok: true, counts: [] });
    raw.destroy();
  });

  it.each([
    ['the version 0', '["e",0]'],
    ['the version 2^53 - 1', `["e",${SEQ_MAX}]`],
    ['the version 1.0', '["e",1.0]'],
    ['an epoch of 0 characters', '["",1]'],
    ['an epoch of 10,000 characters', `["${'e'.repeat(10_000)}",1]`],
  ])('the gateway accepts known of __proto__ with %s', async (_title, known) => {
    const raw = await RawSocket.connect(gateway.url);
    const answer = await raw.emitWithAck(
      `2#["subscribe",{"posts":["__proto__"],"known":{"__proto__":${known},"other":["e",1]}}]`,
    );
    expect(answer).toMatchObject({ ok: true, counts: [{ post: '__proto__', likes: 1 }] });
    raw.destroy();
  });

  it.each([
    ['by 1', '2#["add",{"post":"edge-1","metric":"views","by":1}]', { applied: true, counts: { views: 1 } }],
    ['by 1000', '2#["add",{"post":"edge-2","metric":"views","by":1000}]', { applied: true, counts: { views: 1000 } }],
    ['by 1e3', '2#["add",{"post":"edge-3","metric":"views","by":1e3}]', { applied: true, counts: { views: 1000 } }],
    ['by 7.0', '2#["add",{"post":"edge-4","metric":"views","by":7.0}]', { applied: true, counts: { views: 7 } }],
    ['no by', '2#["add",{"metric":"views","post":"edge-5"}]', { applied: true, counts: { views: 1 } }],
    ['the seq 2^53 - 1', `2#["view",{"post":"edge-6","seq":${SEQ_MAX}}]`, { applied: true, counts: { views: 1 } }],
    ['the seq 1e0', '2#["view",{"post":"edge-7","seq":1e0}]', { applied: true, counts: { views: 1 } }],
    [
      'a set to off of a toggle that is off',
      '2#["set",{"post":"edge-8","metric":"likes","on":false}]',
      { applied: false, on: false },
    ],
    ['white space', '2# [ "like" , { "post" : "edge-9" } ] ', { applied: true, counts: { likes: 1 } }],
    ['escapes', '2#["\\u006cike",{"p\\u006fst":"\\u0065dge-10"}]', { applied: true, counts: { post: 'edge-10' } }],
    ['a field given twice', '2#["like",{"post":5,"post":"edge-11"}]', { applied: true, counts: { post: 'edge-11' } }],
    ['an unsubscribe from a post that is not watched', '2#["unsubscribe",{"posts":["edge-12"]}]', { ok: true }],
  ])('the gateway accepts %s', async (_title, packet, answer) => {
    const raw = await RawSocket.connect(gateway.url, '{"session":"12345678"}');
    expect(await raw.emitWithAck(packet)).toMatchObject({ ok: true, ...answer });
    raw.destroy();
  });

  it('2^53 - 1 is the last seq of a session, and its retry a duplicate', async () => {
    const socket = connect(gateway.url, { session: 'a-session-of-its-own' });
    const sent = { post: 'edge-13', seq: SEQ_MAX };
    expect(await socket.emitWithAck('view', sent)).toMatchObject({ applied: true, duplicate: false });
    expect(await socket.emitWithAck('view', sent)).toMatchObject({ applied: false, duplicate: true });
    expect(await socket.emitWithAck('view', { ...sent, seq: 1 })).toMatchObject({
      duplicate: true,
      counts: { views: 1 },
    });
  });

  it('500 posts of 24 characters fit into a message', async () => {
    const posts = Array.from({ length: 500 }, (_, i) => `${i}`.padStart(24, 'x'));
    const { counts, rejected } = expectOk(await connect(gateway.url).emitWithAck('subscribe', { posts }));
    expect(counts).toHaveLength(500);
    expect(rejected).toBeUndefined();
  });
});

describe('without an acknowledgement', () => {
  it.each([
    ['like', 'set', ['like",{"post":"no-ack-0"}'], { likes: 1, views: 0 }],
    ['unlike', 'set', ['like",{"post":"no-ack-1"}', 'unlike",{"post":"no-ack-1"}'], { likes: 0, views: 0 }],
    ['view', 'add', ['view",{"post":"no-ack-2"}', 'view",{"post":"no-ack-2","seq":1}'], { likes: 0, views: 2 }],
    ['add', 'add', ['add",{"post":"no-ack-3","metric":"views","by":1000}'], { likes: 0, views: 1000 }],
    ['set', 'set', ['set",{"post":"no-ack-4","metric":"likes","on":true}'], { likes: 1, views: 0 }],
  ])('a valid %s without an acknowledgement is committed', async (_event, kind, events, totals) => {
    const raw = await RawSocket.connect(gateway.url, '{"actor":"grace"}');
    const before = await operations(kind, 'applied');
    for (const event of events) raw.send(`42["${event}]`);
    await until(async () => (await operations(kind, 'applied')) === before + events.length, 'done');
    const post = /no-ack-\d/.exec(events[0]!)![0];
    expect(await readTotals(gateway.url, [post])).toEqual({ [post]: totals });
    raw.destroy();
  });

  it('a valid subscribe without an acknowledgement gets a frame, and an unsubscribe ends it', async () => {
    const raw = await RawSocket.connect(gateway.url);
    const frame = raw.nextMessage((text) => text.startsWith('42["counts"'));
    raw.send('42["subscribe",{"posts":["no-ack-5","__proto__"]}]');
    expect(JSON.parse((await frame).slice(2))).toMatchObject(['counts', [{ post: 'no-ack-5' }, { post: '__proto__' }]]);
    raw.send('42["unsubscribe",{"posts":["no-ack-5","__proto__"]}]');
    await until(async () => (await read('no-ack-5')).live === 0, 'no viewer is left');
    raw.destroy();
  });

  it.each([
    ['a wrong post', '42["like",{"post":"no spaces"}]', 'unknown', 'BAD_REQUEST'],
    ['a wrong seq', '42["view",{"post":"no-ack-6","seq":1e309}]', 'unknown', 'BAD_REQUEST'],
    ['a wrong metric', '42["add",{"post":"no-ack-6","metric":"likes"}]', 'unknown', 'BAD_REQUEST'],
    ['an extra field', '42["set",{"post":"no-ack-6","metric":"likes","on":true,"by":1}]', 'unknown', 'BAD_REQUEST'],
    ['no payload', '42["like"]', 'unknown', 'BAD_REQUEST'],
    ['two payloads', '42["like",{"post":"no-ack-6"},{"post":"no-ack-6"}]', 'unknown', 'BAD_REQUEST'],
    ['an unknown event', '42["applaud",{"post":"no-ack-6"}]', 'unknown', 'BAD_REQUEST'],
    ['bytes', '450-["like",{"post":"no-ack-6"}]', 'unknown', 'BAD_REQUEST'],
    ['a wrong list', '42["subscribe",{"posts":["no-ack-6",null]}]', 'unknown', 'BAD_REQUEST'],
    ['20,000 characters', `42["like",{"post":"${'x'.repeat(20_000)}"}]`, 'unknown', 'PAYLOAD_TOO_LARGE'],
    [
      '501 posts',
      `42["subscribe",{"posts":${JSON.stringify(Array.from({ length: 501 }, (_, i) => `q${i}`))}}]`,
      'subscribe',
      'TOO_MANY_POSTS',
    ],
  ])(
    'a message without an acknowledgement and with %s is dropped and counted in the metrics',
    async (_title, packet, kind, result) => {
      const raw = await RawSocket.connect(gateway.url);
      const before = await operations(kind, result);
      const answered = raw.nextMessage((text) => !text.startsWith('43'));
      raw.send(packet);
      expect(await raw.emitWithAck('2#["unsubscribe",{"posts":["no-ack-6"]}]')).toEqual({ ok: true });
      expect(await operations(kind, result)).toBe(before + 1);
      expect(await read('no-ack-6')).toEqual({ post: 'no-ack-6', likes: 0, views: 0, live: 0, updated_at: null });
      raw.destroy();
      await expect(answered).rejects.toThrow('closed');
    },
  );
});
