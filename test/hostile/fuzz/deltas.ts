import fc from 'fast-check';
import { bucketOf } from '../../../src/counters/bucket-of.js';
import type { Incarnation, RegionIncarnation } from '../../../src/counters/pn-counter.js';
import type { MilestoneHome, ReachedMilestone } from '../../../src/counters/milestones.js';
import type { PostDelta, DeltaAck, Delta, HomeDelta } from '../../../src/counters/replication/delta.js';
import { firstStampAt } from '../../../src/counters/replication/hybrid-clock.js';

export const BUCKETS = 64;
/** Metrics of `likes:toggle,views:tally`; lists rarely contain others. */
const LIKES = 0;
const METRICS = 2;
const SUBSETS_MAX = 4;
/** Posts of the deltas. */
export const DELTA_POSTS = ['p1', 'p2', '__proto__', 'constructor', 'x'.repeat(64)];
/** Wall time before every test, so that no stamp is ahead of the receiver's clock. */
const WALL_MS = Date.UTC(2026, 0, 1);
const REGIONS = ['us', 'us', 'us', 'eu', 'ap'];

const number = fc.oneof(
  { weight: 6, arbitrary: fc.nat(1_000) },
  { weight: 1, arbitrary: fc.constantFrom(Number.MAX_SAFE_INTEGER, 2 ** 32, 2 ** 31 - 1, 2 ** 52) },
);
/** Sums of the largest counts stay exact. Beyond 2^53 - 1 they would depend on the order of addition, which differs by store. */
const count = fc.oneof(
  { weight: 6, arbitrary: fc.nat(1_000) },
  { weight: 1, arbitrary: fc.constantFrom(2 ** 32, 2 ** 31 - 1, 2 ** 49) },
);
const half = fc.oneof(fc.nat(9), fc.integer({ min: 0, max: 0xffff_ffff }));
const actor = fc.record({ hi: half, lo: half });
const stamp = fc.oneof(
  { weight: 5, arbitrary: fc.nat(1_000_000).map((ms) => firstStampAt(WALL_MS - ms)) },
  { weight: 1, arbitrary: fc.nat(1_000) },
);
/** Few incarnations, so that they repeat: one epoch with two nonces, an older one, and one newer than all. */
const incarnation: fc.Arbitrary<Incarnation> = fc.oneof(
  {
    weight: 200,
    arbitrary: fc.record({ epoch: fc.integer({ min: 1, max: 3 }), nonce: fc.integer({ min: 7, max: 8 }) }),
  },
  { weight: 1, arbitrary: fc.record({ epoch: number, nonce: number }) },
);
const regionIncarnation: fc.Arbitrary<RegionIncarnation> = fc
  .tuple(fc.constantFrom(...REGIONS), incarnation)
  .map(([region, of]) => ({ region, ...of }));
const post = fc.constantFrom(...DELTA_POSTS);
const metric = fc.oneof({ weight: 20, arbitrary: fc.nat(METRICS - 1) }, { weight: 1, arbitrary: fc.nat(15) });

const members = fc
  .record({
    subsets: fc.integer({ min: 1, max: SUBSETS_MAX }),
    subset: fc.nat(SUBSETS_MAX - 1),
    actors: fc.array(actor, { maxLength: 6 }),
  })
  .map(({ subsets, subset, actors }) => ({ metric: LIKES, subsets, subset: subset % subsets, actors }));

const region = fc.constantFrom(...REGIONS);
const milestoneHome: fc.Arbitrary<MilestoneHome> = fc.record({
  region,
  number: fc.nat(5),
  mode: fc.constantFrom('order', 'strict', 'released'),
});
const confirmation = fc
  .tuple(regionIncarnation, fc.record({ home: milestoneHome, stamp }))
  .map(([of, about]) => ({ ...of, ...about }));
const time = fc.nat(1_000_000).map((ms) => WALL_MS - ms);
/** Few numbers, so that regions disagree about them. */
const record: fc.Arbitrary<ReachedMilestone> = fc.record(
  {
    n: fc.nat(9),
    actor: fc.option(actor),
    session: fc.option(actor),
    seq: number,
    kind: fc.constantFrom('add', 'set', 'adjust', 'visit'),
    value: number,
    total: number,
    v: number,
    region,
    epoch: number,
    atMs: time,
    recordedAtMs: time,
    missed: fc.boolean(),
    isFinal: fc.constant(true),
  },
  {
    requiredKeys: [
      ...(['n', 'actor', 'session', 'seq', 'kind', 'value', 'total', 'v'] as const),
      ...(['region', 'epoch', 'atMs', 'recordedAtMs', 'missed'] as const),
    ],
  },
);
const homes: fc.Arbitrary<HomeDelta[]> = fc.array(
  fc.record({
    metric,
    home: fc.option(milestoneHome, { freq: 5 }),
    confirmations: fc.uniqueArray(confirmation, { maxLength: 2, selector: (one) => one.region }),
    reached: fc.uniqueArray(record, { maxLength: 2, selector: ({ n }) => n }),
  }),
  { minLength: 1, maxLength: 2 },
);

const posts: fc.Arbitrary<PostDelta> = fc.record(
  {
    post,
    updatedAtMs: fc.nat(1_000_000).map((ms) => WALL_MS - ms),
    entries: fc.array(fc.record({ metric, incarnation: regionIncarnation, p: count, n: count }), { maxLength: 3 }),
    registers: fc.array(fc.record({ metric: fc.constant(LIKES), actor, stamp, on: fc.boolean() }), { maxLength: 3 }),
    members: fc.array(members, { maxLength: 2 }),
    homes,
  },
  { requiredKeys: ['post', 'updatedAtMs', 'entries', 'registers', 'members'] },
);

/** Deltas of region us with posts of its bucket, which pass validation. */
const delta: fc.Arbitrary<Delta> = fc
  .record({
    kind: fc.constantFrom('changes' as const, 'full-sync' as const, 'full-sync-end' as const, 'repair' as const),
    source: incarnation.map((of) => ({ region: 'us', ...of })),
    startedAtStamp: stamp,
    predecessors: fc.array(incarnation, { maxLength: 2 }),
    after: stamp,
    upTo: stamp,
    ackedUpTo: stamp,
    stableStamp: stamp,
    posts: fc.uniqueArray(posts, { minLength: 1, maxLength: 3, selector: ({ post: id }) => id }),
    fullSyncReceiver: fc.option(incarnation, { freq: 3 }),
  })
  .map((one) => {
    const bucket = bucketOf(one.posts[0]!.post, BUCKETS);
    return { ...one, bucket, posts: one.posts.filter(({ post: id }) => bucketOf(id, BUCKETS) === bucket) };
  });

export const deltas = fc.array(delta, { maxLength: 3 });

const ack: fc.Arbitrary<DeltaAck> = fc
  .tuple(
    incarnation,
    fc.record({
      bucket: fc.nat(BUCKETS),
      incarnationRejected: fc.boolean(),
      backfilling: fc.boolean(),
      fullySynced: fc.boolean(),
      upTo: stamp,
      receiver: incarnation,
    }),
  )
  .map(([of, one]) => ({ ...of, ...one }));

export const acks = fc.array(ack, { maxLength: 4 });

export const digests = fc.array(
  fc.record({ bucket: fc.nat(BUCKETS), beforeMs: number, leaves: fc.array(half, { maxLength: 16 }) }),
  { maxLength: 3 },
);

export const differences = fc.array(
  fc.record({ bucket: fc.nat(BUCKETS), leaves: fc.array(fc.nat(16), { maxLength: 16 }) }),
  { maxLength: 3 },
);

export const postLists = fc.array(post, { maxLength: 8 });

export const operations = fc.array(
  fc.record({
    post,
    metric: fc.nat(2),
    kind: fc.constantFrom('add' as const, 'set' as const, 'visit' as const),
    value: fc.nat(3),
    actor: fc.option(fc.record({ hi: half, lo: half })),
    session: fc.record({ hi: half, lo: half }),
    seq: number,
    atS: number,
    isForwarded: fc.constant(true as const),
    hops: fc.constantFrom(1, 2),
  }),
  { maxLength: 8 },
);
