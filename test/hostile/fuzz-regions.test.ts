import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { bucketOf } from '../../src/counters/bucket-of.js';
import {
  encodeDigests,
  encodeOperations,
  encodeOutcomes,
  encodePosts,
} from '../../src/replication/transport/message-codec.js';
import { encodeDeltas } from '../../src/replication/transport/delta-codec.js';
import { LIMIT_MS } from '../property/runs.js';
import { closeClients } from '../support/clients.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { expectError } from './fuzz/books.js';
import { fuzzInBatches, SEED } from './fuzz/fuzzing.js';
import { GatewayUnderFuzz } from './fuzz/gateway-under-fuzz.js';
import { mutated } from './fuzz/mutations.js';
import { BUCKETS, digests, operations, postLists, deltas, DELTA_POSTS } from './fuzz/deltas.js';

const TOKEN = 'a-token-of-these-tests';
const METRICS = 'likes:toggle,views:tally';
const HEADERS = {
  Authorization: `Bearer ${TOKEN}`,
  'Tallycast-Region': 'us',
  'Tallycast-Schema': `${BUCKETS} hash ${METRICS}`,
};
const UNAVAILABLE = 503;
/** A post that no fuzz names. */
const FORWARDED = 'forwarded';

/** Bodies of a peer with mostly one change at most, so that many of them reach the store. */
const calls = fc.oneof(
  { weight: 2, arbitrary: callOf('deltas', deltas.map(encodeDeltas)) },
  { weight: 1, arbitrary: callOf('digests', digests.map(encodeDigests)) },
  { weight: 1, arbitrary: callOf('posts', postLists.map(encodePosts)) },
  { weight: 1, arbitrary: callOf('operations', operations.map(encodeOperations)) },
);
/** Responses of a peer to forwarded operations: a list of one outcome, or nearly one. */
const outcomes = bytesOf(
  fc.array(fc.nat(255), { minLength: 0, maxLength: 2, size: 'small' }).map((list) => encodeOutcomes(list)),
);
/** Responses of a peer to reads of posts. */
const answers = bytesOf(deltas.map(encodeDeltas));

function callOf(what: string, valid: fc.Arbitrary<Buffer>): fc.Arbitrary<{ what: string; body: Buffer }> {
  return fc.record({ what: fc.constant(what), body: bytesOf(valid) });
}

function bytesOf(valid: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  return fc.oneof({ weight: 3, arbitrary: valid }, { weight: 1, arbitrary: mutated(valid) });
}

let peer: Server;
let answer: Buffer = Buffer.alloc(0);
let gateway: GatewayUnderFuzz;
let env: Record<string, string>;

beforeAll(async () => {
  peer = createServer((request, response) => {
    request.resume();
    // The gateway's own deltas are rejected, so that every response is one of the fuzz.
    response.statusCode = /posts|operations/.test(request.url ?? '') ? 200 : UNAVAILABLE;
    response.end(answer);
  });
  peer.listen(0, '127.0.0.1');
  await once(peer, 'listening');
  const { port } = peer.address() as AddressInfo;
  env = { REGION: 'eu', PEERS: `us=http://127.0.0.1:${port}`, PEER_TOKEN: TOKEN, METRICS };
  gateway = await GatewayUnderFuzz.start(env);
});

afterAll(async () => {
  await closeClients();
  await stopAll();
  peer.closeAllConnections();
  peer.close();
});

async function post({ what, body }: { what: string; body: Buffer }): Promise<void> {
  const response = await fetch(`${gateway.url}/v1/replication/${what}`, { method: 'POST', body, headers: HEADERS });
  const bytes = Buffer.from(await response.arrayBuffer());
  if (response.status === 200) return;
  expect({ what, status: response.status, text: bytes.toString() }).toMatchObject({ status: 400 });
  expectError(JSON.parse(bytes.toString()));
}

/** Reads the counts of all posts of the fuzz. @throws Error if one of them cannot be read */
async function countsAt(url: string): Promise<unknown> {
  const response = await fetch(`${url}/v1/counts?posts=${DELTA_POSTS.join()}`);
  expect(response.status).toBe(200);
  return response.json();
}

describe(`fuzzed requests and responses of a region (TEST_SEED=${SEED})`, () => {
  it(
    'fuzzed calls of a region get a response, or an error that names the field',
    async () => {
      await fuzzInBatches(1_000, calls, [], async (inputs) => {
        await Promise.all(inputs.map(post));
        await gateway.expectHonestService();
      });
    },
    LIMIT_MS,
  );

  it(
    'fuzzed responses of a region are merged, or the error names the region as one that did not send its counts',
    async () => {
      await fuzzInBatches(600, answers, [], async (inputs) => {
        for (const input of inputs) {
          answer = input;
          const response = await fetch(`${gateway.url}/v1/p1/views?consistency=all`);
          const body: unknown = await response.json();
          if (response.status === 200) expect(body).toHaveProperty('count');
          else
            expect(body).toMatchObject({
              code: 'UNAVAILABLE',
              message: expect.stringContaining('regions did not send their counts: us') as unknown,
            });
        }
        await gateway.expectHonestService();
      });
    },
    LIMIT_MS,
  );

  it(
    'fuzzed answers to a forwarded operation are its outcome, or an error that names the region',
    async () => {
      const source = { source: { region: 'us', epoch: 1_000, nonce: 1 }, startedAtStamp: 0, predecessors: [] };
      const stamps = { after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0, fullSyncReceiver: null };
      const home = { region: 'us', number: 1_000, mode: 'strict' } as const;
      const homes = [{ metric: 1, home, confirmations: [], reached: [] }];
      const forwarded = { post: FORWARDED, updatedAtMs: 0, entries: [], registers: [], members: [], homes };
      const bucket = bucketOf(FORWARDED, BUCKETS);
      await post({
        what: 'deltas',
        body: encodeDeltas([{ kind: 'changes', bucket, ...source, ...stamps, posts: [forwarded] }]),
      });
      const results = { counted: 0, rejected: 0 };
      await fuzzInBatches(300, outcomes, [], async (inputs) => {
        for (const input of inputs) {
          answer = input;
          const headers = { 'Content-Type': 'application/json' };
          const init = { method: 'PUT', headers, body: '{"action":"increment"}' };
          const response = await fetch(`${gateway.url}/v1/${FORWARDED}/views`, init);
          const body: unknown = await response.json();
          if (response.status === 200) {
            results.counted += 1;
            expect(body).toMatchObject({ count: 0 });
          } else {
            results.rejected += 1;
            const message = expect.stringContaining('waits until region us, which counts it,') as unknown;
            expect(body).toMatchObject({ code: 'UNAVAILABLE', message });
          }
        }
        await gateway.expectHonestService();
      });
      expect(results.counted).toBeGreaterThan(0);
      expect(results.rejected).toBeGreaterThan(0);
    },
    LIMIT_MS,
  );

  it(
    'fuzzed calls leave no memory and no log lines behind',
    () =>
      gateway.expectNothingLeft(
        /^(region us |(rejecting|merging) deltas of .*region us|views of post forwarded has waited)/,
      ),
    LIMIT_MS,
  );

  it('a gateway boots on the data that fuzzed calls leave, and reads the same counts', async () => {
    const before = await countsAt(gateway.url);
    expect(await gateway.process.kill('SIGTERM')).toBe(0);
    const again = await startGateway({ ...env, DATA_DIR: gateway.process.dataDir });
    expect(await countsAt(again.url)).toEqual(before);
  });
});
