/**
 * The data of the byte measurements, the same in every run: posts, likes, last seqs of sessions. Groups of operations are
 * committed as by a gateway, one batch a bucket.
 */
import { bucketOf } from '../build/counters/bucket-of.js';

const LIKES = 0;
const VIEWS = 1;
export const BUCKETS = 64;
const AT_MS = Date.UTC(2026, 0, 1);
const NOBODY = { actor: null, session: null, seq: 0 };

const random32 = randomOf(1);

/** One view of each post: one counter. */
export function* viewOfEach(ids) {
  for (const post of ids) yield { post, metric: VIEWS, kind: 'add', value: 1 + (random32() % 1000), ...NOBODY };
}

export function* twoOfEach(ids) {
  for (const post of ids) {
    yield { post, metric: LIKES, kind: 'adjust', value: 1, ...NOBODY };
    yield { post, metric: VIEWS, kind: 'add', value: 1 + (random32() % 1000), ...NOBODY };
  }
}

/** A like of an actor and views. */
export function* likeAndViewOfEach(ids) {
  for (const post of ids) {
    yield { post, metric: LIKES, kind: 'set', value: 1, ...NOBODY, actor: key() };
    yield { post, metric: VIEWS, kind: 'add', value: 1 + (random32() % 1000), ...NOBODY };
  }
}

export function* likeOfEach(ids) {
  for (const post of ids) yield { post, metric: LIKES, kind: 'set', value: 1, ...NOBODY, actor: key() };
}

export function* likesOver(count, posts) {
  for (let i = 0; i < count; i++) {
    const post = String(10_000_000 + (random32() % posts));
    yield { post, metric: LIKES, kind: 'set', value: 1, ...NOBODY, actor: key() };
  }
}

export function* viewsOfSessions(count) {
  for (let i = 0; i < count; i++) {
    const post = String(10_000_000 + (random32() % 1_000));
    yield { post, metric: VIEWS, kind: 'add', value: 1, ...NOBODY, session: key(), seq: 1 };
  }
}

/** Visits of different actors. */
export function* visitsOver(count, posts) {
  for (let i = 0; i < count; i++) {
    const post = String(10_000_000 + (random32() % posts));
    yield { post, metric: VIEWS, kind: 'visit', value: 1, ...NOBODY, actor: key(), atS: AT_MS / 1_000 };
  }
}

function key() {
  return { hi: random32(), lo: random32() };
}

/** Different ids, the same ones at every call; their first digits are a counter, so that none repeats. */
export function* shuffledIds(count) {
  const random = randomOf(2);
  const step = 7_368_787;
  for (let i = 0, at = 0; i < count; i++, at = (at + step) % 90_000_000) {
    const more = String(random()).padStart(10, '0') + String(random());
    yield String(10_000_000 + at) + more.slice(0, random() % 12);
  }
}

/** Ids of a clock and a counter of 22 bits a millisecond. */
export function* growingIds(count) {
  const random = randomOf(3);
  let id = 1_150_000_000_000_000_000n;
  for (let i = 0; i < count; i++) yield String((id += BigInt(1 + (random() % 10_000_000))));
}

/** xorshift32 (Marsaglia, 2003): the same numbers in every run. */
export function randomOf(seed) {
  let x = Math.imul(seed, 0x9e3779b1) | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

/** Commits `group` operations at a time, the batches of a group in parallel. */
export async function commitAll(store, operations, group) {
  let open = [];
  for (const operation of operations) if (open.push(operation) === group) await commit(store, open.splice(0));
  await commit(store, open);
}

const numbers = new WeakMap();

async function commit(store, group) {
  if (!numbers.has(store)) numbers.set(store, new Array(BUCKETS).fill(0));
  const last = numbers.get(store);
  const byBucket = new Map();
  for (const operation of group) {
    const bucket = bucketOf(operation.post, BUCKETS);
    if (!byBucket.has(bucket)) byBucket.set(bucket, []);
    byBucket.get(bucket).push(operation);
  }
  const batches = [...byBucket].map(([bucket, operations]) => {
    return { bucket, producerId: 'bench-01', batchNumber: ++last[bucket], atMs: AT_MS, operations };
  });
  await Promise.all(batches.map((batch) => store.commit(batch)));
}
