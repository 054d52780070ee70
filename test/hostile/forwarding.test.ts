import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { bucketOf } from '../../src/counters/bucket-of.js';
import type { Delta } from '../../src/counters/replication/delta.js';
import type { ForwardedOperation } from '../../src/counters/replication/forwarded-operation.js';
import { encodeDeltas } from '../../src/replication/transport/delta-codec.js';
import {
  decodeOperations,
  decodeOutcomes,
  encodeOperations,
  encodeOutcomes,
} from '../../src/replication/transport/message-codec.js';
import { REQUEST_BYTES_MAX } from '../../src/replication/transport/request-splitter.js';
import { postEvents } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics, untilMetric } from '../support/metrics.js';
import { until } from '../support/until.js';

const TOKEN = 'a-token-of-these-tests';
const METRICS = 'likes:toggle,views:tally';
const BUCKETS = 64;
const VIEWS = 1;
const POST = 'forwarded';
const EVENTS_EACH = 250;

/** Another region, which answers as a test wants. */
let peer: Server;
let answer: (response: ServerResponse, operations: readonly ForwardedOperation[]) => void;
let gateway: GatewayProcess;

beforeAll(async () => {
  peer = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (request.url === '/v1/replication/operations')
        return answer(response, decodeOperations(Buffer.concat(chunks)));
      response.statusCode = 503;
      response.end();
    });
  });
  peer.listen(0, '127.0.0.1');
  await once(peer, 'listening');
  const { port } = peer.address() as AddressInfo;
  const peers = { REGION: 'eu', PEERS: `us=http://127.0.0.1:${port}`, PEER_TOKEN: TOKEN, METRICS };
  gateway = await startGateway({ ...peers, MAX_OPS_PER_ADDRESS: '0' });
  const { status } = await call('deltas', encodeDeltas([homeOf(POST)]));
  expect(status).toBe(200);
});
afterEach(() => {
  peer.closeAllConnections();
});
afterAll(async () => {
  await stopAll();
  peer.close();
});

/** Region us decides about the views of the post. */
function homeOf(post: string): Delta {
  const now = { after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0, fullSyncReceiver: null };
  const source = { source: { region: 'us', epoch: 1, nonce: 1 }, startedAtStamp: 0, predecessors: [] };
  const home = { region: 'us', number: 1, mode: 'strict' } as const;
  const homes = [{ metric: VIEWS, home, confirmations: [], reached: [] }];
  const posts = [{ post, updatedAtMs: 0, entries: [], registers: [], members: [], homes }];
  return { kind: 'changes', bucket: bucketOf(post, BUCKETS), ...now, ...source, posts };
}

function operation(seq: number, about: Partial<ForwardedOperation> = {}): ForwardedOperation {
  const mark = { session: { hi: 7, lo: 7 }, seq };
  return {
    post: 'here',
    metric: VIEWS,
    kind: 'add',
    value: 1,
    actor: null,
    ...mark,
    isForwarded: true,
    hops: 1,
    ...about,
  };
}

async function call(
  resource: string,
  body: Buffer,
  headers: Record<string, string> = {},
): Promise<{ status: number; message: string; bytes: Buffer }> {
  const response = await fetch(`${gateway.url}/v1/replication/${resource}`, {
    method: 'POST',
    body,
    headers: {
      Authorization: `Bearer ${TOKEN}`,
      'Tallycast-Region': 'us',
      'Tallycast-Schema': `${BUCKETS} hash ${METRICS}`,
      ...headers,
    },
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const { message } = response.status === 200 ? { message: '' } : (JSON.parse(bytes.toString()) as { message: string });
  return { status: response.status, message, bytes };
}

async function view(post: string): Promise<{ status: number; body: { code?: string; message?: string } }> {
  const headers = { 'Content-Type': 'application/json' };
  const body = '{"action":"increment"}';
  const response = await fetch(`${gateway.url}/v1/${post}/views`, { method: 'PUT', headers, body });
  return { status: response.status, body: (await response.json()) as { code?: string; message?: string } };
}

function applyAll(response: ServerResponse, operations: readonly ForwardedOperation[]): void {
  response.end(encodeOutcomes(operations.map(() => 1)));
}

test.each([
  ['nothing', (response: ServerResponse) => response.end()],
  ['another format', (response: ServerResponse) => response.end(Buffer.from([99, 1, 1]))],
  ['text', (response: ServerResponse) => response.end('<html>502 Bad Gateway</html>')],
  ['too few outcomes', (response: ServerResponse) => response.end(encodeOutcomes([]))],
  ['too many outcomes', (response: ServerResponse) => response.end(encodeOutcomes([1, 1]))],
  ['an outcome out of range', (response: ServerResponse) => response.end(encodeOutcomes([0xff]))],
  ['10 MB', (response: ServerResponse) => response.end(Buffer.alloc(10_000_000, 5))],
  ['half a response', (response: ServerResponse) => response.writeHead(200, { 'Content-Length': '9' }).end('5')],
  ['a cut connection', (response: ServerResponse) => response.destroy()],
  ['a redirect', (response: ServerResponse) => response.writeHead(302, { Location: '/' }).end()],
])(
  'a region that answers %s has done nothing: the client is told which region it is, and retries',
  async (_what, how) => {
    answer = how;
    const { status, body } = await view(POST);
    expect({ status, ...body }).toMatchObject({ status: 503, code: 'UNAVAILABLE' });
    expect(body.message).toContain('waits until region us, which counts it, answers');
    answer = applyAll;
    expect((await view(POST)).status).toBe(200);
  },
);

test('while the region hangs 10,000 operations get an answer each, and all else is counted', async () => {
  let calls = 0;
  answer = () => (calls += 1);
  const metrics = await readMetrics(gateway.url);
  const before = metrics.get('tallycast_operations_total{kind="add",result="UNAVAILABLE"}') ?? 0;
  const events = Array.from({ length: EVENTS_EACH }, () => ({ post: POST }));
  const answers = Promise.all(Array.from({ length: 10_000 / EVENTS_EACH }, () => postEvents(gateway.url, { events })));
  await until(() => calls > 0, 'operations are on their way');
  expect((await view('other')).status).toBe(200);
  const codes = (await answers).map(({ status, body }) => `${status} ${'code' in body ? body.code : ''}`);
  expect(codes).toEqual(Array(10_000 / EVENTS_EACH).fill('503 UNAVAILABLE'));
  await untilMetric(gateway.url, 'tallycast_pending_operations', 0);
  await untilMetric(gateway.url, 'tallycast_forwarding_operations', 0);
  const after = (await readMetrics(gateway.url)).get('tallycast_operations_total{kind="add",result="UNAVAILABLE"}')!;
  expect(after - before).toBe(10_000);
  answer = applyAll;
  expect((await view(POST)).status).toBe(200);
});

test('calls that break a rule are rejected, and the error names the rule', async () => {
  const one = encodeOperations([operation(1)]);
  const tooMany = Array.from({ length: 251 }, (_, i) => operation(i + 1));
  const wrongFormat = Buffer.from(one);
  wrongFormat[0] = 99;
  const calls = [
    [encodeOperations(tooMany), {}, 400, 'operations must be at most 250'],
    [Buffer.alloc(REQUEST_BYTES_MAX + 1), {}, 413, ''],
    [one, { Authorization: 'Bearer another-token' }, 401, 'PEER_TOKEN must be the same in all regions'],
    [one, { 'Tallycast-Region': 'mars' }, 403, 'your region is not listed in PEERS of this gateway'],
    [one, { 'Tallycast-Schema': '32 hash views:tally' }, 400, 'BUCKETS, ACTOR_KEYS and METRICS must be the same'],
    [wrongFormat, {}, 400, 'format 99 is not supported'],
    [encodeOperations([operation(1, { metric: 9 })]), {}, 400, 'metric of an operation must be below 2'],
    [
      encodeOperations([operation(1, { value: 0 })]),
      {},
      400,
      'value of an operation of kind add must be from 1 to 1000',
    ],
    [encodeOperations([operation(1, { hops: 0 })]), {}, 400, 'hops must be at least 1'],
    [Buffer.concat([one, Buffer.of(1)]), {}, 400, 'the message has 1 bytes too many'],
    [Buffer.alloc(0), {}, 400, 'format: the message ends within it'],
  ] as const;
  for (const [body, headers, status, message] of calls) {
    const response = await call('operations', body, headers);
    expect({ status: response.status, message: response.message }).toEqual({
      status,
      message: expect.stringContaining(message) as unknown,
    });
  }
  const none = await call('operations', encodeOperations([]));
  expect(decodeOutcomes(none.bytes)).toEqual([]);
  const most = await call('operations', encodeOperations(tooMany.slice(1)));
  expect(decodeOutcomes(most.bytes)).toEqual(Array(250).fill(1));
});

test('a gateway that is stopped answers what is on its way first, and then ends', async () => {
  let release: () => void = () => undefined;
  answer = (response, operations) => (release = () => applyAll(response, operations));
  const first = view(POST);
  await untilMetric(gateway.url, 'tallycast_forwarding_operations', 1);
  const ended = gateway.kill('SIGTERM');
  await until(
    async () => (await view('other').catch(() => ({ status: 503 }))).status === 503,
    'the gateway is closing',
  );
  release();
  expect((await first).status).toBe(200);
  expect(await ended).toBe(0);
});
