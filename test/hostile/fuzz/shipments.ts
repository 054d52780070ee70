import fc from 'fast-check';
import { bucketOf } from '../../../src/counters/ids.js';
import type { Incarnation, RegionIncarnation } from '../../../src/counters/pn-counter.js';
import type { PostDelta, DeltaAck, Delta } from '../../../src/counters/replication/delta.js';
import { firstStampAt } from '../../../src/counters/replication/hybrid-clock.js';

export const BUCKETS = 64;
/** Of `likes:toggle,views:tally`; as a rule a list names no other. */
const LIKES = 0;
const METRICS = 2;
const PARTS_MAX = 4;
/** Posts that shipments are about. */
export const SHIPPED = ['p1', 'p2', '__proto__', 'constructor', 'x'.repeat(64)];
/** Before every test, so that no stamp is ahead of the receiver's clock. */
const WALL_MS = Date.UTC(2026, 0, 1);
const REGIONS = ['us', 'us', 'us', 'eu', 'ap'];

const number = fc.oneof(
  { weight: 6, arbitrary: fc.nat(1_000) },
  { weight: 1, arbitrary: fc.constantFrom(Number.MAX_SAFE_INTEGER, 2 ** 32, 2 ** 31 - 1, 2 ** 52) },
);
/** Sums of the largest stay exact: beyond 2^53 - 1 they are rounded in the order of their parts, which stores do not share. */
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
/** Few, so that they meet: of one epoch and two nonces, of one that is older, and of one that is newer than all. */
const life: fc.Arbitrary<Incarnation> = fc.oneof(
  {
    weight: 200,
    arbitrary: fc.record({ epoch: fc.integer({ min: 1, max: 3 }), nonce: fc.integer({ min: 7, max: 8 }) }),
  },
  { weight: 1, arbitrary: fc.record({ epoch: number, nonce: number }) },
);
const incarnation: fc.Arbitrary<RegionIncarnation> = fc
  .tuple(fc.constantFrom(...REGIONS), life)
  .map(([region, of]) => ({ region, ...of }));
const post = fc.constantFrom(...SHIPPED);
const metric = fc.oneof({ weight: 20, arbitrary: fc.nat(METRICS - 1) }, { weight: 1, arbitrary: fc.nat(15) });

const members = fc
  .record({
    subsets: fc.integer({ min: 1, max: PARTS_MAX }),
    subset: fc.nat(PARTS_MAX - 1),
    actors: fc.array(actor, { maxLength: 6 }),
  })
  .map(({ subsets, subset, actors }) => ({ metric: LIKES, subsets, subset: subset % subsets, actors }));

const posts: fc.Arbitrary<PostDelta> = fc.record({
  post,
  updatedAtMs: fc.nat(1_000_000).map((ms) => WALL_MS - ms),
  entries: fc.array(fc.record({ metric, incarnation, p: count, n: count }), { maxLength: 3 }),
  registers: fc.array(fc.record({ metric: fc.constant(LIKES), actor, stamp, on: fc.boolean() }), { maxLength: 3 }),
  members: fc.array(members, { maxLength: 2 }),
});

/** Of region us, and about posts of its bucket: what another region takes in, whatever it thinks of it. */
const shipment: fc.Arbitrary<Delta> = fc
  .record({
    kind: fc.constantFrom('changes' as const, 'full-sync' as const, 'full-sync-end' as const, 'repair' as const),
    source: life.map((of) => ({ region: 'us', ...of })),
    startedAtStamp: stamp,
    predecessors: fc.array(life, { maxLength: 2 }),
    after: stamp,
    upTo: stamp,
    ackedUpTo: stamp,
    stableStamp: stamp,
    posts: fc.uniqueArray(posts, { minLength: 1, maxLength: 3, selector: ({ post: id }) => id }),
    fullSyncReceiver: fc.option(life, { freq: 3 }),
  })
  .map((one) => {
    const bucket = bucketOf(one.posts[0]!.post, BUCKETS);
    return { ...one, bucket, posts: one.posts.filter(({ post: id }) => bucketOf(id, BUCKETS) === bucket) };
  });

export const shipments = fc.array(shipment, { maxLength: 3 });

const receipt: fc.Arbitrary<DeltaAck> = fc
  .tuple(
    life,
    fc.record({
      bucket: fc.nat(BUCKETS),
      incarnationRejected: fc.boolean(),
      backfilling: fc.boolean(),
      fullySynced: fc.boolean(),
      upTo: stamp,
      receiver: life,
    }),
  )
  .map(([of, one]) => ({ ...of, ...one }));

export const receipts = fc.array(receipt, { maxLength: 4 });

export const digests = fc.array(
  fc.record({ bucket: fc.nat(BUCKETS), beforeMs: number, leaves: fc.array(half, { maxLength: 16 }) }),
  { maxLength: 3 },
);

export const differences = fc.array(
  fc.record({ bucket: fc.nat(BUCKETS), leaves: fc.array(fc.nat(16), { maxLength: 16 }) }),
  { maxLength: 3 },
);

export const postLists = fc.array(post, { maxLength: 8 });
