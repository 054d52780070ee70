import { describe, expect, it } from '@jest/globals';
import { RandomDeltas } from '../../../test/support/random-deltas.js';
import { Random } from '../../../test/support/random.js';
import { MemoryBucket } from '../../../test/contract/memory-bucket.js';
import { mergeDelta } from '../../counters/replication/merge-delta.js';
import { Metrics } from '../../counters/metrics.js';
import { newReplicationState, ReplicationState } from '../../counters/replication/replication-state.js';
import { subsetOf, type PostDelta, type Delta } from '../../counters/replication/delta.js';
import { encodePushRequests, encodePostRequests } from './request-splitter.js';
import { decodePosts } from './message-codec.js';
import { decodeDeltas } from './delta-codec.js';

const SEED = 20_260_102;
const RUNS = 60 * Number(process.env['TEST_SCALE'] ?? 1);
/** Small enough that nearly everything is divided; one post with its key and home fit in. */
const BYTES_MAX = 400;
const METRICS = Metrics.parse('likes:toggle,views:tally');

/** The facts that a delta states about a post, sorted. */
function readFacts({ post, updatedAtMs, entries, registers, members, homes }: PostDelta): string[] {
  return [
    ...entries.map((entry) => JSON.stringify([post, updatedAtMs, entry])),
    ...(homes === undefined ? [] : [JSON.stringify([post, homes])]),
    ...registers.map((register) => JSON.stringify([post, updatedAtMs, register])),
    ...members.flatMap(({ metric, actors }) => actors.map((actor) => JSON.stringify([post, metric, actor]))),
  ].sort();
}

function readAllFacts(deltas: readonly Delta[]): string[] {
  return deltas.flatMap(({ posts }) => posts.flatMap(readFacts)).sort();
}

describe('request splitter', () => {
  it(`large deltas are split into requests under the limit that state the same facts (seed ${SEED})`, () => {
    const random = new Random(SEED);
    const make = new RandomDeltas(random);
    for (let i = 0; i < RUNS; i++) {
      const deltas = make.list();
      const requests = encodePushRequests(deltas, BYTES_MAX);
      expect(Math.max(...requests.map(({ bytes }) => bytes.length))).toBeLessThanOrEqual(BYTES_MAX);
      const sent = requests.flatMap(({ bytes }) => decodeDeltas(bytes));
      const items = requests.flatMap((request) => request.items);
      expect(sent).toEqual(items.map(({ delta }) => delta));
      for (const [index, delta] of deltas.entries()) {
        const fragments = items.filter((item) => item.index === index).map((item) => item.delta);
        expect(readAllFacts(fragments)).toEqual(readAllFacts([delta]));
        expect({ ...fragments.at(-1)!, posts: [] }).toEqual({ ...delta, posts: [] });
        for (const fragment of fragments.slice(0, -1)) {
          expect(fragment).toMatchObject({ upTo: delta.after, fullSyncReceiver: null, source: delta.source });
          expect(fragment.kind).toBe(delta.kind === 'full-sync-end' ? 'full-sync' : delta.kind);
        }
      }
      const members = items.flatMap(({ delta }) => delta.posts.flatMap((post) => post.members));
      for (const { subset, subsets, actors } of members) {
        expect(actors.every((actor) => subsetOf(actor, subsets) === subset)).toBe(true);
      }
    }
  });

  it('deltas that fit go into one request, even if there are none', () => {
    expect(encodePushRequests([])).toHaveLength(1);
    const requests = encodePushRequests(new RandomDeltas(new Random(SEED)).list());
    expect(requests).toHaveLength(1);
  });

  it('every actor of a large set is kept, because registers come before the members that do not name them', () => {
    const actors = Array.from({ length: 20_000 }, (_, i) => ({ hi: Math.imul(i, 0x9e3779b1) >>> 0, lo: i }));
    const newest = { metric: 0, actor: { hi: 1, lo: 2 }, stamp: 900_000, on: true };
    const delta: Delta = {
      kind: 'full-sync',
      bucket: 0,
      source: { region: 'us', epoch: 1, nonce: 1 },
      ...{
        startedAtStamp: 0,
        predecessors: [],
        after: 0,
        upTo: 0,
        ackedUpTo: 0,
        stableStamp: 800_000,
        fullSyncReceiver: null,
      },
      posts: [
        {
          post: 'large',
          updatedAtMs: 5,
          entries: [],
          registers: [newest],
          members: [{ metric: 0, subset: 0, subsets: 1, actors }],
        },
      ],
    };
    const here = new MemoryBucket(
      { region: 'eu', epoch: 1, nonce: 1 },
      new ReplicationState('eu', newReplicationState(0)),
    );
    here.setPost('large', { v: 1, updatedAtMs: 1, metrics: [{ members: 1, counter: [] }] });
    here.setMember('large', 0, newest.actor, true);
    here.setRegisterStamp('large', 0, newest.actor, 700_000);
    const requests = encodePushRequests([delta], 64 * 1024);
    expect(requests.length).toBeGreaterThan(1);
    for (const { bytes } of requests) for (const fragment of decodeDeltas(bytes)) mergeDelta(here, METRICS, fragment);
    expect(here.post('large')?.metrics[0]?.members).toBe(20_001);
    expect(here.hasMember('large', 0, newest.actor)).toBe(true);
  });

  it('a delta that cannot be split further is rejected', () => {
    const actors = Array.from({ length: 1_000 }, (_, i) => ({ hi: i, lo: i }));
    const [delta] = Array.from({ length: 1 }, () => new RandomDeltas(new Random(SEED)).delta());
    const post = { post: 'a', updatedAtMs: 0, entries: [], registers: [] };
    const same = { ...delta!, posts: [{ ...post, members: [{ metric: 0, subset: 0, subsets: 1, actors }] }] };
    expect(() => encodePushRequests([same], BYTES_MAX)).toThrow('cannot be split');
  });
});

it('500 posts are requested at a time', () => {
  const posts = Array.from({ length: 1_001 }, (_, i) => `post-${i}`);
  const requests = encodePostRequests(posts);
  expect(requests.map(({ items }) => items.length)).toEqual([500, 500, 1]);
  expect(requests.flatMap(({ bytes }) => decodePosts(bytes))).toEqual(posts);
});
