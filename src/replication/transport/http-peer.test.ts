import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { freePort } from '../../../test/support/free-port.js';
import { RandomDeltas } from '../../../test/support/random-deltas.js';
import { Random } from '../../../test/support/random.js';
import type { Clock } from '../../common/clock.js';
import { bucketOf } from '../../counters/bucket-of.js';
import { Metrics } from '../../counters/metrics.js';
import type { Delta, DeltaAck } from '../../counters/replication/delta.js';
import { HttpPeer } from './http-peer.js';
import { PushRequests } from './request-splitter.js';
import { DeltaValidation } from './delta-validation.js';
import { decodePosts, encodeAcks } from './message-codec.js';
import { decodeDeltas, encodeDeltas } from './delta-codec.js';

const BUCKETS = 4;
const TOKEN = 'a-token-of-these-tests';

/** A clock that no stamp is ahead of. Its timers run out when a test calls `passes`. */
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
let respond: (called: Called, response: ServerResponse) => void;
let calls: Called[];
let connections: number;

beforeEach(async () => {
  clock = new PatientClock();
  calls = [];
  connections = 0;
  const listener: RequestListener = (request, response) => {
    void readBody(request).then((body) => {
      const called = { url: request.url!, headers: request.headers, body };
      calls.push(called);
      respond(called, response);
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

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function peerAt(port: number, basePath = ''): HttpPeer {
  const validation = new DeltaValidation(BUCKETS, 'hash', Metrics.parse('likes:toggle,views:tally'));
  const address = { region: 'us', url: new URL(`http://127.0.0.1:${port}${basePath}`) };
  return new HttpPeer(address, { region: 'eu', token: TOKEN, validation, requests: new PushRequests(), clock });
}

function ackFor({ bucket, source, upTo }: Delta, incarnationRejected = false): DeltaAck {
  const { epoch, nonce } = source;
  return {
    bucket,
    epoch,
    nonce,
    upTo,
    incarnationRejected,
    receiver: { epoch: 1, nonce: 2 },
    backfilling: false,
    fullySynced: true,
  };
}

function fullSync(post: string, region = 'us'): Delta {
  return {
    kind: 'full-sync',
    bucket: bucketOf(post, BUCKETS),
    source: { region, epoch: 1, nonce: 1 },
    ...{ startedAtStamp: 0, predecessors: [], after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0, fullSyncReceiver: null },
    posts: [{ post, updatedAtMs: 1, entries: [], registers: [], members: [] }],
  };
}

describe('HttpPeer', () => {
  it('HttpPeer sends its name, its schema and the token with each call, over one connection', async () => {
    respond = ({ body }, response) => response.end(encodeAcks(decodeDeltas(body).map((one) => ackFor(one))));
    const deltas = new RandomDeltas(new Random(7)).list();
    for (let i = 0; i < 3; i++) expect(await peer.push(deltas)).toEqual(deltas.map((one) => ackFor(one)));
    expect(connections).toBe(1);
    expect(calls[0]).toMatchObject({
      url: '/v1/replication/deltas',
      headers: {
        authorization: `Bearer ${TOKEN}`,
        'tallycast-region': 'eu',
        'tallycast-schema': `${BUCKETS} hash likes:toggle,views:tally`,
        'content-type': 'application/octet-stream',
      },
      body: encodeDeltas(deltas),
    });
    const headerBytes = peer.stats.bytesSent - calls.reduce((sum, { body }) => sum + body.length, 0);
    expect(headerBytes / calls.length).toBeGreaterThan(100);
    expect(headerBytes / calls.length).toBeLessThan(400);
  });

  it('HttpPeer calls a region below its BASE_PATH', async () => {
    respond = (_called, response) => response.writeHead(404).end();
    const below = peerAt((server.address() as AddressInfo).port, '/live');
    await expect(below.readPosts(['a'])).rejects.toThrow('give its BASE_PATH in PEERS');
    expect(calls.map(({ url }) => url)).toEqual(['/live/v1/replication/posts']);
    below.close();
  });

  it('HttpPeer pushes a large delta in fragments and returns the ack of the last one', async () => {
    const actors = Array.from({ length: 300_000 }, (_, i) => ({ hi: i, lo: Math.imul(i, 0x9e3779b1) >>> 0 }));
    const large = fullSync('large', 'eu');
    const members = [{ metric: 0, subset: 0, subsets: 1, actors }];
    const end = { kind: 'full-sync-end' as const, upTo: 9, fullSyncReceiver: { epoch: 1, nonce: 2 } };
    const delta = { ...large, ...end, posts: [{ ...large.posts[0]!, members }] };
    let call = 0;
    respond = ({ body }, response) => {
      call += 1;
      response.end(encodeAcks(decodeDeltas(body).map((one) => ackFor(one, call === 2))));
    };
    expect(await peer.push([delta, fullSync('small', 'eu')])).toEqual([
      ackFor({ ...delta, upTo: 0 }, true),
      ackFor(fullSync('small')),
    ]);
    expect(calls.length).toBeGreaterThan(2);
    call = 2;
    expect(await peer.push([delta])).toEqual([ackFor(delta)]);
  });

  it('HttpPeer reads posts and rejects those of a third region', async () => {
    respond = ({ body }, response) => response.end(encodeDeltas(decodePosts(body).map((post) => fullSync(post))));
    expect(await peer.readPosts(['a', 'b'])).toEqual([fullSync('a'), fullSync('b')]);
    respond = ({ body }, response) => response.end(encodeDeltas(decodePosts(body).map((post) => fullSync(post, 'ap'))));
    await expect(peer.readPosts(['a'])).rejects.toThrow('us sent an invalid response: source must be us');
  });

  it('HttpPeer retries a call if the peer closes a kept connection at that moment', async () => {
    respond = (_called, response) => response.end(encodeAcks([]));
    await peer.push([]);
    respond = (_called, response) => {
      respond = (_again, second) => second.end(encodeAcks([]));
      response.socket!.resetAndDestroy();
    };
    expect(await peer.push([])).toEqual([]);
    expect(calls).toHaveLength(3);
    expect(connections).toBe(2);
  });
});

describe('failed calls', () => {
  it.each([
    [
      403,
      '{"code":"FORBIDDEN","message":"your region is not listed in PEERS of this gateway"}',
      'your region is not listed in PEERS of this gateway',
    ],
    [502, '<html>\n bad gateway é</html>', '<html> bad gateway </html>'],
    [503, 'null', 'null'],
    [500, 'x'.repeat(10_000), 'x'.repeat(200)],
  ])('a response with status %d is reported in one line', async (status, body, message) => {
    respond = (_called, response) => response.writeHead(status).end(body);
    await expect(peer.push([])).rejects.toMatchObject({ message: `us responded ${status}: ${message}` });
  });

  it('a peer without the route runs another version, and the error says so', async () => {
    respond = (_called, response) => response.writeHead(404).end('{}');
    const message =
      'us has no POST /v1/replication/deltas: run one version in all regions, and give its BASE_PATH in PEERS';
    await expect(peer.push([])).rejects.toMatchObject({ message });
  });

  it('a redirect is not followed', async () => {
    respond = (_called, response) => response.writeHead(307, { Location: '/elsewhere' }).end();
    await expect(peer.push([])).rejects.toMatchObject({ message: 'us responded 307: ' });
    expect(calls).toHaveLength(1);
  });

  it('a rejected connection is reported without the address', async () => {
    const down = peerAt(await freePort());
    await expect(down.push([])).rejects.toMatchObject({ message: 'us: connect ECONNREFUSED' });
    down.close();
  });

  it('a call whose response takes over 5 s is rejected', async () => {
    respond = (_called, response) => {
      response.writeHead(200).write('some of it');
      setImmediate(() => clock.passes());
    };
    await expect(peer.push([])).rejects.toMatchObject({ message: 'us: no response within 5 s' });
    expect(clock.waiting).toBe(0);
  });

  it('a response in another format, or with too many acks, is rejected', async () => {
    respond = (_called, response) => response.end('hello');
    await expect(peer.push([])).rejects.toThrow(
      /^us sent an invalid response: format 104 is not supported \(this region reads format 5\); run one version in all regions$/,
    );
    respond = (_called, response) => response.end(encodeAcks([ackFor(fullSync('a'))]));
    await expect(peer.push([])).rejects.toThrow(/^us responded with 1 acks to 0 deltas$/);
  });

  it('a response over 8 MiB is rejected', async () => {
    respond = (_called, response) => {
      response.on('error', () => undefined);
      response.end(Buffer.alloc(9 * 1024 * 1024));
    };
    await expect(peer.push([])).rejects.toMatchObject({ message: 'us: the response is larger than 8388608 bytes' });
  });

  it('a response that ends early is rejected', async () => {
    respond = (_called, response) => {
      response.writeHead(200, { 'Content-Length': 1_000 }).write('half');
      setImmediate(() => response.socket!.resetAndDestroy());
    };
    await expect(peer.push([])).rejects.toThrow(/^us: (read )?ECONNRESET$/);
  });
});
