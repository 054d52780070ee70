import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { parseSinkSecret } from '../../src/config/sink-urls.js';
import { buildWebhookSink } from '../../src/sinks/webhook/webhook-sink.js';
import { METRICS } from '../contract/operations.js';
import { Random } from '../support/random.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';
import { FedStore, type FeedingGateway } from './fed-store.js';
import { RowConsumer } from './row-consumer.js';
import { type Reaction, SECRET, WebhookServer } from './webhook-server.js';

const SEED = Number(process.env['TEST_SEED'] ?? 20_261_129);
const ROUNDS = 12 * Number(process.env['TEST_SCALE'] ?? 1);
const KEY = parseSinkSecret(SECRET);

let random: Random;
let store: FedStore;
let consumer: RowConsumer;
let server: WebhookServer;
/** Between the gateways and the server. */
let proxy: TcpProxy;

beforeEach(async () => {
  random = new Random(SEED);
  store = await FedStore.open(SEED);
  consumer = new RowConsumer(METRICS);
  server = new WebhookServer(consumer);
  proxy = await startProxy({ port: await server.listen() });
});

afterEach(async () => {
  server.react = () => 'take';
  await store.close();
  await proxy.close();
  await server.close();
});

function startGateway(path = '/counts?token=t0ken'): FeedingGateway {
  const url = new URL(`http://127.0.0.1:${proxy.port}${path}`);
  return store.startGateway((options, changeStore) => buildWebhookSink({ ...options, url }, changeStore, KEY));
}

describe('webhook', () => {
  it('a receiver gets every post, then what changes', async () => {
    await store.change(200);
    startGateway();
    await store.untilCopied(consumer);
    await store.change(20);
    await store.untilCopied(consumer);
    const { path, headers, body, rows } = server.requests.at(-1)!;
    expect(path).toBe('/counts?token=t0ken');
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'Tallycast' });
    expect(JSON.parse(body)).toMatchObject({ type: 'counts.changed', timestamp: '2026-01-01T00:00:00.000Z' });
    const [post, counts] = [...(await store.readCounts())].find(([id]) => id === rows[0]!['post'])!;
    const [likes, views, shares, saves] = counts.totals;
    const metrics = { likes, views, shares, saves };
    const row = { region: 'eu', post, e: 'eu.1.1', v: counts.v, ...metrics, at: '2026-01-01T00:00:00.000Z' };
    expect(rows[0]).toEqual(row);
  });

  it(`a receiver that fails in every way ends with the counts of the store (TEST_SEED=${SEED})`, async () => {
    startGateway();
    const reactions: Reaction[] = ['take', 'take', 'lose', 'cut', 'hang', { status: 500 }, { status: 429 }];
    server.react = () => random.pick(reactions);
    for (let round = 0; round < ROUNDS; round++) {
      await store.change(30);
      const seen = server.requests.length;
      await until(() => server.requests.length > seen, 'a request has arrived');
      if (random.chance(0.3)) proxy.cut();
    }
    server.react = () => 'take';
    await store.untilCopied(consumer);
  });

  it('a request that failed is repeated with the same id and body, and a new timestamp', async () => {
    await store.change(50);
    server.react = ({ rows }) => (server.requests.length < 4 && rows.length > 0 ? { status: 503 } : 'take');
    const { warnings } = startGateway();
    await store.untilCopied(consumer);
    const [first, ...others] = server.requests.slice(0, 4);
    for (const { id, body } of others) expect({ id, body }).toEqual({ id: first!.id, body: first!.body });
    const digest = createHash('sha256').update('?token=t0ken').digest('hex').slice(0, 8);
    const name = `http://127.0.0.1:${proxy.port}/counts?${digest}`;
    expect(warnings).toEqual([`${name}: the receiver responded 503`]);
  });

  it('the lines of docs/sinks.md verify requests', async () => {
    const { verify } = await importExample();
    await store.change(20);
    startGateway();
    await store.untilCopied(consumer);
    const { headers, body } = server.requests.at(-1)!;
    expect(verify(SECRET, headers, body)).toBe(true);
    expect(verify(SECRET, headers, `${body} `)).toBe(false);
    expect(verify(`whsec_${Buffer.alloc(24).toString('base64')}`, headers, body)).toBe(false);
    const timestamp = Number(headers['webhook-timestamp']);
    expect(verify(SECRET, { ...headers, 'webhook-timestamp': String(timestamp + 1) }, body)).toBe(false);
    expect(verify(SECRET, { ...headers, 'webhook-timestamp': String(timestamp - 400) }, body)).toBe(false);
    const signatures = `v1a,AAAA v1,AAAA ${String(headers['webhook-signature'])}`;
    expect(verify(SECRET, { ...headers, 'webhook-signature': signatures }, body)).toBe(true);
    expect(verify(SECRET, {}, body)).toBe(false);
  });

  it('requests that are too large are halved', async () => {
    await store.change(300);
    server.react = ({ rows }) => (rows.length > 4 ? { status: 413 } : 'take');
    startGateway();
    await store.untilCopied(consumer);
    expect(server.requests.filter(({ rows }) => rows.length > 4).length).toBeLessThan(8);
  });

  it('redirects are not followed', async () => {
    await store.change(5);
    const elsewhere = { status: 307, headers: { location: '/elsewhere' } };
    server.react = () => (server.requests.length < 2 ? elsewhere : 'take');
    const { warnings } = startGateway();
    await store.untilCopied(consumer);
    expect(new Set(server.requests.map(({ path }) => path))).toEqual(new Set(['/counts?token=t0ken']));
    expect(warnings.join()).toContain('responded 307, but redirects are not followed; name the final URL');
  });

  it('a receiver that rejects the signature is reported once, and asked again later', async () => {
    await store.change(5);
    const url = new URL(`http://127.0.0.1:${proxy.port}/`);
    const wrong = Buffer.alloc(32);
    const { warnings } = store.startGateway((options, changeStore) =>
      buildWebhookSink({ ...options, url }, changeStore, wrong),
    );
    await until(() => warnings.length > 0, 'the failure is reported');
    expect(warnings).toEqual([
      `http://127.0.0.1:${proxy.port}/: the receiver responded 401; it has to accept signed POST requests with 2xx`,
    ]);
    expect(server.requests).toEqual([]);
  });

  it('a gateway that takes over continues, and copies of other URLs have positions of their own', async () => {
    await store.change(100);
    const first = startGateway();
    await store.untilCopied(consumer);
    await first.close();
    startGateway();
    store.passLease(1);
    const { received } = consumer;
    await store.change(20);
    await store.untilCopied(consumer);
    expect(consumer.received - received).toBeLessThan(25);
    startGateway('/counts?token=other');
    store.passLease(2);
    await until(() => consumer.received - received > consumer.counts.size, 'every post was sent again');
  });

  it('counts of a store that lost its last commits replace those that it lost', async () => {
    await store.change(300, 20);
    startGateway();
    await store.untilCopied(consumer);
    await store.fallBack(async () => {
      startGateway();
      store.passLease(1);
      await store.change(100, 20);
      await store.untilCopied(consumer);
    });
    startGateway();
    store.passLease(2);
    await store.change(20, 20);
    await store.untilCopied(consumer);
  });
});

/** The example of the documentation, as a module. */
async function importExample(): Promise<{
  verify: (secret: string, headers: IncomingHttpHeaders, body: string) => boolean;
}> {
  const [, code] = /```js\n(.*?)```/s.exec(await readFile('docs/sinks.md', 'utf8'))!;
  return (await import(`data:text/javascript,${encodeURIComponent(code!)}`)) as Awaited<
    ReturnType<typeof importExample>
  >;
}
