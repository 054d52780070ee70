import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { systemClock } from '../../src/common/clock.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import type { ActorKeys } from '../../src/counters/ids.js';
import { Metrics } from '../../src/counters/metrics.js';
import type { Delta } from '../../src/counters/replication/delta.js';
import { firstStampAt } from '../../src/counters/replication/hybrid-clock.js';
import { HttpPeer } from '../../src/replication/transport/http-peer.js';
import type { LinkStatus } from '../../src/replication/transport/peer.js';
import { PushRequests } from '../../src/replication/transport/request-splitter.js';
import { DeltaValidation } from '../../src/replication/transport/delta-validation.js';
import { decodeAcks, encodePosts } from '../../src/replication/transport/message-codec.js';
import { encodeDeltas } from '../../src/replication/transport/delta-codec.js';
import { freePort } from '../support/free-port.js';
import { readMetrics } from '../support/metrics.js';
import { type RegionGateway, startRegionGateway, stopRegionGateways } from '../support/region-gateway.js';

const BUCKETS = 64;
const METRICS = 'likes:toggle,views:tally';
const PEER_TOKEN = 'a-token-of-these-tests';
const UP = { method: 'PUT', body: '{"action":"increment"}' };

let eu: RegionGateway;
let us: RegionGateway;
/** URL of the third region, which is down. */
let apUrl: string;

beforeAll(async () => {
  const [euPort, usPort, apPort] = [await freePort(), await freePort(), await freePort()];
  const urls = { eu: `http://127.0.0.1:${euPort}`, us: `http://127.0.0.1:${usPort}` };
  apUrl = `http://127.0.0.1:${apPort}`;
  const shared = { PEER_TOKEN, METRICS };
  eu = await startRegionGateway({ ...shared, REGION: 'eu', PORT: String(euPort), PEERS: `us=${urls.us}` });
  us = await startRegionGateway({ ...shared, REGION: 'us', PORT: String(usPort), PEERS: `eu=${urls.eu},ap=${apUrl}` });
});

afterAll(stopRegionGateways);

/** eu, as another region calls it. */
function euFor(region: string, token = PEER_TOKEN, metrics = METRICS, actorKeys: ActorKeys = 'hash'): HttpPeer {
  const rules = new DeltaValidation(BUCKETS, actorKeys, Metrics.parse(metrics));
  return new HttpPeer(
    { region: 'eu', url: new URL(eu.url) },
    { region, token, validation: rules, requests: new PushRequests(), clock: systemClock },
  );
}

/** A delta with views of a post. */
function views(post: string, p: number, region = 'us'): Delta {
  const source = { region, epoch: 1, nonce: 1 };
  const entries = [{ metric: 1, incarnation: source, p, n: 0 }];
  return {
    kind: 'changes',
    bucket: bucketOf(post, BUCKETS),
    source,
    ...{
      startedAtStamp: 0,
      predecessors: [],
      after: 0,
      upTo: firstStampAt(Date.now()),
      ackedUpTo: 0,
      stableStamp: 0,
      fullSyncReceiver: null,
    },
    posts: [{ post, updatedAtMs: Date.now(), entries, registers: [], members: [] }],
  };
}

function countOf(path: string, at = eu): Promise<unknown> {
  return fetch(at.url + path).then(async (response) => ((await response.json()) as { count: unknown }).count);
}

describe('another region', () => {
  const peers: HttpPeer[] = [];

  function peer(...args: Parameters<typeof euFor>): HttpPeer {
    peers.push(euFor(...args));
    return peers.at(-1)!;
  }

  afterAll(() => {
    for (const one of peers) one.close();
  });

  it('a pushed delta counts here', async () => {
    const delta = views('pushed', 3);
    const [ack] = await peer('us').push([delta]);
    expect(ack).toMatchObject({
      bucket: delta.bucket,
      incarnationRejected: false,
      receiver: { epoch: 1, nonce: 1 },
    });
    expect(await countOf('/v1/pushed/views')).toBe(3);
  });

  it('deltas larger than a client may send are pushed, 1 MiB at a time', async () => {
    const deltas = Array.from({ length: 20_000 }, (_, i) => views(`many-${i}`, i));
    const acks = await peer('us').push(deltas);
    expect(acks.map(({ bucket }) => bucket)).toEqual(deltas.map(({ bucket }) => bucket));
    expect(await countOf('/v1/many-19999/views')).toBe(19_999);
  });

  it('a peer compares digests and reads posts', async () => {
    expect(await peer('us').compareDigests([{ bucket: 5, beforeMs: 0, leaves: [1, 2] }])).toEqual([
      { bucket: 5, leaves: [0, 15] },
    ]);
    const shown = await peer('us').readPosts(['pushed', 'unknown']);
    expect(shown).toEqual(await eu.service.readPosts(['pushed', 'unknown']));
  });

  it.each([
    ['with a wrong token', () => peer('us', 'another peer token'), '401: PEER_TOKEN must be the same'],
    ['that is not in PEERS', () => peer('ap'), '403: your region is not listed in PEERS of this gateway'],
    [
      'that counts one more metric',
      () => peer('us', PEER_TOKEN, `${METRICS},saves:toggle`),
      '400: BUCKETS, ACTOR_KEYS and METRICS must be the same in all regions; here they are 64 hash likes:toggle,views:tally',
    ],
    [
      'with another kind of actor keys',
      () => peer('us', PEER_TOKEN, METRICS, 'int64'),
      '400: BUCKETS, ACTOR_KEYS and METRICS must be the same in all regions; here they are 64 hash likes:toggle,views:tally',
    ],
  ])('a region %s is rejected', async (_who, caller, message) => {
    await expect(caller().push([views('refused', 1)])).rejects.toThrow(`eu responded ${message}`);
    expect(await countOf('/v1/refused/views')).toBe(0);
  });

  it('a wrong token is rejected before the body is read', async () => {
    const response = await post('deltas', Buffer.alloc(2 * 1024 * 1024), { Authorization: 'Bearer no' });
    expect(response).toMatchObject({ status: 401, body: { code: 'UNAUTHORIZED' } });
  });

  it.each([
    ['of a third region', views('odd', 1, 'ap'), 'source must be us, the region that calls'],
    ['of a bucket that does not exist', { ...views('odd', 1), bucket: 64 }, 'bucket must be below 64'],
    ['with posts of another bucket', { ...views('odd', 1), bucket: 1 }, 'post must be one of bucket 1'],
  ])('a delta %s is rejected with the reason', async (_what, delta, message) => {
    await expect(peer('us').push([delta])).rejects.toThrow(`eu responded 400: ${message}`);
    expect(await countOf('/v1/odd/views')).toBe(0);
  });
});

const HEADERS = { 'Tallycast-Region': 'us', 'Tallycast-Schema': `${BUCKETS} hash ${METRICS}` };

async function post(what: string, body: Buffer, headers: Record<string, string> = {}) {
  const all = { Authorization: `Bearer ${PEER_TOKEN}`, ...HEADERS, ...headers };
  const response = await fetch(`${eu.url}/v1/replication/${what}`, { method: 'POST', body, headers: all });
  const bytes = Buffer.from(await response.arrayBuffer());
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  return { status: response.status, body: isJson ? (JSON.parse(bytes.toString()) as unknown) : bytes };
}

describe('POST /v1/replication', () => {
  it('the response to deltas is binary', async () => {
    const { status, body } = await post('deltas', encodeDeltas([views('by-hand', 1)]));
    expect(status).toBe(200);
    expect(decodeAcks(body as Buffer)).toHaveLength(1);
  });

  it.each([
    ['deltas', Buffer.alloc(0), 'format: the message ends within it'],
    [
      'deltas',
      Buffer.from('{"action":"increment"}'),
      'format 123 is not supported (this region reads format 5); run one version in all regions',
    ],
    ['deltas', encodeDeltas([views('a', 1)]).subarray(0, -1), 'entries: the message ends before the last'],
    ['digests', Buffer.from([5, 1, 64, 0, 0]), 'bucket must be below 64'],
    ['posts', Buffer.from([5, 1, 1, 0x20]), 'post must match ^[A-Za-z0-9_.:-]{1,64}$'],
    ['posts', encodePosts(new Array<string>(501).fill('a')), 'posts must be at most 500'],
  ])('%s: a malformed message is a BAD_REQUEST that names the field', async (what, body, message) => {
    const answer = await post(what, body);
    expect(answer).toMatchObject({ status: 400, body: { code: 'BAD_REQUEST', retryable: false } });
    expect((answer.body as { message: string }).message).toContain(message);
  });

  it('a body over 1 MiB is PAYLOAD_TOO_LARGE', async () => {
    expect(await post('deltas', Buffer.alloc(1024 * 1024 + 1))).toEqual({
      status: 413,
      body: { code: 'PAYLOAD_TOO_LARGE', message: 'a body has at most 1048576 bytes', retryable: false },
    });
  });

  it('a page of another origin is rejected, and no preflight allows it', async () => {
    const Origin = 'https://elsewhere.example';
    expect(await post('deltas', encodeDeltas([]), { Origin })).toMatchObject({ status: 403 });
    const headers = { Origin, 'Access-Control-Request-Method': 'POST' };
    const preflight = await fetch(`${eu.url}/v1/replication/deltas`, { method: 'OPTIONS', headers });
    expect(preflight.headers.get('access-control-allow-origin')).toBeNull();
  });

  it('a post may be called replication', async () => {
    const response = await fetch(`${eu.url}/v1/replication/likes`, { ...UP, headers: { 'Actor-Id': 'ada' } });
    expect(await response.json()).toMatchObject({ count: 1 });
    expect(await countOf('/v1/replication/likes')).toBe(1);
  });
});

describe('consistency', () => {
  it('all reads counts that another region has not pushed yet, and local does not', async () => {
    for (let i = 0; i < 2; i++) await fetch(`${us.url}/v1/far/views`, UP);
    await fetch(`${us.url}/v1/far/likes`, { ...UP, headers: { 'Actor-Id': 'ada' } });
    await fetch(`${eu.url}/v1/far/views`, UP);
    expect(await countOf('/v1/far/views')).toBe(1);
    expect(await countOf('/v1/far/views?consistency=local')).toBe(1);
    expect(await countOf('/v1/far/views?consistency=all')).toBe(3);
    expect(await countOf('/v1/far/likes')).toBe(1);
    const response = await fetch(`${eu.url}/v1/counts?posts=far,near&consistency=all`);
    expect(await response.json()).toMatchObject({
      counts: [
        { post: 'far', likes: 1, views: 3 },
        { post: 'near', views: 0 },
      ],
    });
  });

  it('concurrent reads of all regions use shared calls', async () => {
    const posts = Array.from({ length: 40 }, (_, i) => `crowd-${i}`);
    await Promise.all(posts.map((id) => fetch(`${us.url}/v1/${id}/views`, UP)));
    const before = us.readSizes.length;
    const counts = await Promise.all(posts.map((id) => countOf(`/v1/${id}/views?consistency=all`)));
    expect(counts).toEqual(posts.map(() => 1));
    const calls = us.readSizes.slice(before);
    expect(calls.length).toBeLessThan(posts.length);
    expect(calls.reduce((sum, one) => sum + one, 0)).toBe(posts.length);
  });

  it('all names the regions that do not respond, and local still reads', async () => {
    const response = await fetch(`${us.url}/v1/far/views?consistency=all`);
    expect({ status: response.status, body: await response.json() }).toEqual({
      status: 503,
      body: {
        code: 'UNAVAILABLE',
        message: 'these regions did not send their counts: ap; consistency=local reads the counts that this region has',
        retryable: true,
      },
    });
    expect(await countOf('/v1/far/views', us)).toBeGreaterThanOrEqual(2);
  });

  it.each(['/v1/far/views?consistency=strong', '/v1/counts?posts=far&consistency='])(
    'GET %s is a BAD_REQUEST that names the parameter',
    async (path) => {
      const response = await fetch(eu.url + path);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ message: 'consistency must be local or all' });
    },
  );
});

describe('operators', () => {
  const SEEN = {
    region: 'us',
    up: false,
    error: 'us: connect ECONNREFUSED',
    lagSeconds: 1.5,
    lagChanges: 7,
    rejectedDeltas: 1,
    incarnationsStarted: 2,
    fullSyncs: 3,
    rejectedBuckets: 4,
    rejections: 5,
  };
  const DOWN: LinkStatus = { ...SEEN, sinceMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678) };

  it('operators see the links in GET /v1/regions', async () => {
    eu.status = [DOWN, { ...DOWN, region: 'ap', sinceMs: null, error: '' }];
    expect(await (await fetch(`${eu.url}/v1/regions`)).json()).toEqual({
      region: 'eu',
      peers: [
        { ...SEEN, since: '2026-01-02T03:04:05.678Z' },
        { ...SEEN, region: 'ap', since: null, error: '' },
      ],
    });
  });

  it('operators see the links in /metrics', async () => {
    eu.status = [DOWN, { ...DOWN, region: 'ap', up: true, sinceMs: null }];
    const metrics = await readMetrics(eu.url);
    const regional = [...metrics].filter(
      ([name]) => name.startsWith('tallycast_replication_') && name.includes('"us"'),
    );
    expect(Object.fromEntries(regional)).toEqual({
      'tallycast_replication_link_up{peer="us"}': 0,
      'tallycast_replication_lag_seconds{peer="us"}': 1.5,
      'tallycast_replication_lag_changes{peer="us"}': 7,
      'tallycast_replication_rejected_deltas_total{peer="us"}': 1,
      'tallycast_replication_incarnations_started_total{peer="us"}': 2,
      'tallycast_replication_full_syncs_total{peer="us"}': 3,
      'tallycast_replication_rejected_buckets{peer="us"}': 4,
      'tallycast_replication_rejections_total{peer="us"}': 5,
      'tallycast_replication_sent_bytes_total{peer="us"}': expect.any(Number) as unknown,
    });
    expect(metrics.get('tallycast_replication_sent_bytes_total{peer="us"}')).toBeGreaterThan(100);
    expect(metrics.has('tallycast_replication_link_up{peer="ap"}')).toBe(false);
  });
});
