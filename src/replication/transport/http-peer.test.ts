import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { freePort } from '../../../test/support/free-port.js';
import { RandomDeltas } from '../../../test/support/random-deltas.js';
import { Random } from '../../../test/support/random.js';
import type { Clock } from '../../common/clock.js';
import { bucketOf } from '../../counters/ids.js';
import { Metrics } from '../../counters/metrics.js';
import type { DeltaAck, Delta } from '../../counters/replication/delta.js';
import { HttpPeer } from './http-peer.js';
import { PushRequests } from './request-splitter.js';
import { DeltaValidation } from './delta-validation.js';
import { decodePosts, encodeAcks } from './message-codec.js';
import { decodeDeltas, encodeDeltas } from './delta-codec.js';

const BUCKETS = 4;
const TOKEN = 'a-token-of-these-tests';

/** A day on which nothing is ahead of the clock, whose timers run out when they are told to. */
class PatientClock implements Clock {
  readonly #timers = new Set<() => void>();
  nowMs = () => 0;
  wallMs = () => Number.MAX_SAFE_INTEGER;
  soon = (call: () => void) => call();

  after(_ms: number, call: () => void) {
    this.#timers.add(call);
    return { cancel: () => void this.#timers.delete(call) };
  }

  get waiting(): number {
    return this.#timers.size;
  }

  passes(): void {
    for (const call of this.#timers) call();
  }
}

interface Called {
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

let clock: PatientClock;
let server: Server;
let peer: HttpPeer;
let answer: (called: Called, response: ServerResponse) => void;
let calls: Called[];
let connections: number;

beforeEach(async () => {
  clock = new PatientClock();
  calls = [];
  connections = 0;
  const listener: RequestListener = (request, response) => {
    void bodyOf(request).then((body) => {
      const called = { url: request.url!, headers: request.headers, body };
      calls.push(called);
      answer(called, response);
    });
  };
  server = createServer(listener).on('connection', () => (connections += 1));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  peer = peerAt((server.address() as AddressInfo).port);
});

afterEach(() => {
  peer.close();
  server.closeAllConnections();
  server.close();
});

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function peerAt(port: number): HttpPeer {
  const rules = new DeltaValidation(BUCKETS, 'hash', Metrics.parse('likes:toggle,views:tally'));
  const address = { region: 'us', url: new URL(`http://127.0.0.1:${port}`) };
  return new HttpPeer(address, { region: 'eu', token: TOKEN, validation: rules, requests: new PushRequests(), clock });
}

function receiptFor({ bucket, source, upTo }: Delta, refused = false): DeltaAck {
  const { epoch, nonce } = source;
  return {
    bucket,
    epoch,
    nonce,
    upTo,
    incarnationRejected: refused,
    receiver: { epoch: 1, nonce: 2 },
    backfilling: false,
    fullySynced: true,
  };
}

function shown(post: string, region = 'us'): Delta {
  return {
    kind: 'full-sync',
    bucket: bucketOf(post, BUCKETS),
    source: { region, epoch: 1, nonce: 1 },
    ...{ startedAtStamp: 0, predecessors: [], after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0, fullSyncReceiver: null },
    posts: [{ post, updatedAtMs: 1, entries: [], registers: [], members: [] }],
  };
}

describe('a peer', () => {
  it('is told who calls, with what, in one connection', async () => {
    answer = ({ body }, response) => response.end(encodeAcks(decodeDeltas(body).map((one) => receiptFor(one))));
    const shipments = new RandomDeltas(new Random(7)).list();
    for (let i = 0; i < 3; i++) expect(await peer.push(shipments)).toEqual(shipments.map((one) => receiptFor(one)));
    expect(connections).toBe(1);
    expect(calls[0]).toMatchObject({
      url: '/v1/replication/deltas',
      headers: {
        authorization: `Bearer ${TOKEN}`,
        'tallycast-region': 'eu',
        'tallycast-schema': `${BUCKETS} hash likes:toggle,views:tally`,
        'content-type': 'application/octet-stream',
      },
      body: encodeDeltas(shipments),
    });
    const heads = peer.stats.bytesSent - calls.reduce((sum, { body }) => sum + body.length, 0);
    expect(heads / calls.length).toBeGreaterThan(100);
    expect(heads / calls.length).toBeLessThan(400);
  });

  it('gets what is too large in parts, and its receipt for all of them is the last', async () => {
    const actors = Array.from({ length: 300_000 }, (_, i) => ({ hi: i, lo: Math.imul(i, 0x9e3779b1) >>> 0 }));
    const large = shown('large', 'eu');
    const members = [{ metric: 0, subset: 0, subsets: 1, actors }];
    const end = { kind: 'full-sync-end' as const, upTo: 9, fullSyncReceiver: { epoch: 1, nonce: 2 } };
    const shipment = { ...large, ...end, posts: [{ ...large.posts[0]!, members }] };
    let call = 0;
    answer = ({ body }, response) => {
      call += 1;
      response.end(encodeAcks(decodeDeltas(body).map((one) => receiptFor(one, call === 2))));
    };
    expect(await peer.push([shipment, shown('small', 'eu')])).toEqual([
      receiptFor({ ...shipment, upTo: 0 }, true),
      receiptFor(shown('small')),
    ]);
    expect(calls.length).toBeGreaterThan(2);
    call = 2;
    expect(await peer.push([shipment])).toEqual([receiptFor(shipment)]);
  });

  it('shows posts, of itself alone', async () => {
    answer = ({ body }, response) => response.end(encodeDeltas(decodePosts(body).map((post) => shown(post))));
    expect(await peer.readPosts(['a', 'b'])).toEqual([shown('a'), shown('b')]);
    answer = ({ body }, response) => response.end(encodeDeltas(decodePosts(body).map((post) => shown(post, 'ap'))));
    await expect(peer.readPosts(['a'])).rejects.toThrow('us answered what it should not: source must be us');
  });

  it('that closed a connection at the moment it was used again is asked once more', async () => {
    answer = (_called, response) => response.end(encodeAcks([]));
    await peer.push([]);
    answer = (_called, response) => {
      answer = (_again, second) => second.end(encodeAcks([]));
      response.socket!.resetAndDestroy();
    };
    expect(await peer.push([])).toEqual([]);
    expect(calls).toHaveLength(3);
    expect(connections).toBe(2);
  });
});

describe('a call that fails says in one line why', () => {
  it.each([
    [
      403,
      '{"code":"FORBIDDEN","message":"your region is not listed in PEERS of this gateway"}',
      'your region is not listed in PEERS of this gateway',
    ],
    [502, '<html>\n bad gateway é</html>', '<html> bad gateway </html>'],
    [503, 'null', 'null'],
    [500, 'x'.repeat(10_000), 'x'.repeat(200)],
  ])('us answered %d', async (status, body, message) => {
    answer = (_called, response) => response.writeHead(status).end(body);
    await expect(peer.push([])).rejects.toMatchObject({ message: `us answered ${status}: ${message}` });
  });

  it('redirects are not followed', async () => {
    answer = (_called, response) => response.writeHead(307, { Location: '/elsewhere' }).end();
    await expect(peer.push([])).rejects.toMatchObject({ message: 'us answered 307: ' });
    expect(calls).toHaveLength(1);
  });

  it('nobody listens', async () => {
    const away = peerAt(await freePort());
    await expect(away.push([])).rejects.toMatchObject({ message: 'us: connect ECONNREFUSED' });
    away.close();
  });

  it('the answer does not come in time', async () => {
    answer = (_called, response) => {
      response.writeHead(200).write('some of it');
      setImmediate(() => clock.passes());
    };
    await expect(peer.push([])).rejects.toMatchObject({ message: 'us: no answer within 5 s' });
    expect(clock.waiting).toBe(0);
  });

  it('the answer is none', async () => {
    answer = (_called, response) => response.end('hello');
    await expect(peer.push([])).rejects.toThrow(
      /^us answered what it should not: format 104 is not supported \(this region reads format 4\); run one version in all regions$/,
    );
    answer = (_called, response) => response.end(encodeAcks([receiptFor(shown('a'))]));
    await expect(peer.push([])).rejects.toThrow(/^us answered with 1 receipts for 0$/);
  });

  it('the answer is too large', async () => {
    answer = (_called, response) => {
      response.on('error', () => undefined);
      response.end(Buffer.alloc(9 * 1024 * 1024));
    };
    await expect(peer.push([])).rejects.toMatchObject({ message: 'us: an answer of more than 8388608 bytes' });
  });

  it('the answer ends in the middle', async () => {
    answer = (_called, response) => {
      response.writeHead(200, { 'Content-Length': 1_000 }).write('half');
      setImmediate(() => response.socket!.resetAndDestroy());
    };
    await expect(peer.push([])).rejects.toThrow(/^us: (read )?ECONNRESET$/);
  });
});
