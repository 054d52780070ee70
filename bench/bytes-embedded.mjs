/**
 * Bytes on disk of the embedded store: the size of its data file, divided by what was put in.
 *
 *     node bench/bytes-embedded.mjs [posts=1000000] [likes=1000000] [group=1000] [--json FILE]
 *
 * Needs `npm run build`. Writes to a temporary directory that it removes. `group` operations share a commit, as under
 * load; LMDB never writes a page in place, so the larger the groups, the more free pages the file keeps for the next
 * (a million likes on one post: 14 bytes each in groups of 200, 20 in groups of 1,000, 30 in groups of 4,000).
 */
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { bucketOf } from '../dist/counters/ids.js';
import { Metrics } from '../dist/counters/metrics.js';
import { EmbeddedStore } from '../dist/store/embedded/embedded-store.js';

const LIKES = 0;
const VIEWS = 1;
const BUCKETS = 64;
const AT_MS = Date.UTC(2026, 0, 1);
const NOBODY = { actor: null, session: null, seq: 0 };

const args = process.argv.slice(2);
const jsonAt = args.indexOf('--json');
const jsonFile = jsonAt < 0 ? undefined : args.splice(jsonAt, 2)[1];
const option = (name, standard) => {
  const found = args.find((arg) => arg.startsWith(`${name}=`));
  return found === undefined ? standard : Number(found.slice(name.length + 1));
};
const POSTS = option('posts', 1_000_000);
const LIKE_COUNT = option('likes', 1_000_000);
const GROUP = option('group', 1_000);

const random32 = randomOf(1);

const rows = [
  ...(await postRows('random ids of 8 to 19 digits', shuffledIds)),
  ...(await postRows('growing ids of 19 digits', growingIds)),
  ...(await likeRows('likes on one post', LIKE_COUNT, 1, 24)),
  ...(await likeRows('likes over 1,000 posts', LIKE_COUNT, 1_000, 24)),
  ...(await markRows(LIKE_COUNT)),
];
print(rows);
if (jsonFile !== undefined) await writeFile(jsonFile, `${JSON.stringify({ group: GROUP, rows }, null, 2)}\n`);

/** Posts with a count of likes and of views; then a like by an actor on each. */
async function postRows(name, idsOf) {
  return withStore(async (commitAll, size) => {
    await commitAll(twoOfEach(idsOf(POSTS)));
    const posts = await size();
    await commitAll(likeOfEach(idsOf(POSTS)));
    const liked = await size();
    return [
      { what: `posts with likes and views, ${name}`, count: POSTS, bytes: posts, target: 100 },
      { what: `one like on each of them, ${name}`, count: POSTS, bytes: liked - posts, target: 24 },
    ];
  });
}

async function likeRows(what, count, posts, target) {
  return withStore(async (commitAll, size) => {
    const before = await size();
    await commitAll(likesOver(count, posts));
    return [{ what, count, bytes: (await size()) - before, target }];
  });
}

async function markRows(count) {
  return withStore(async (commitAll, size) => {
    const before = await size();
    await commitAll(viewsOfSessions(count));
    return [{ what: 'marks of sessions', count, bytes: (await size()) - before, target: null }];
  });
}

function* twoOfEach(ids) {
  for (const post of ids) {
    yield { post, metric: LIKES, kind: 'adjust', value: 1, ...NOBODY };
    yield { post, metric: VIEWS, kind: 'add', value: 1 + (random32() % 1000), ...NOBODY };
  }
}

function* likeOfEach(ids) {
  for (const post of ids) yield { post, metric: LIKES, kind: 'set', value: 1, ...NOBODY, actor: key() };
}

function* likesOver(count, posts) {
  for (let i = 0; i < count; i++) {
    const post = String(10_000_000 + (random32() % posts));
    yield { post, metric: LIKES, kind: 'set', value: 1, ...NOBODY, actor: key() };
  }
}

function* viewsOfSessions(count) {
  for (let i = 0; i < count; i++) {
    const post = String(10_000_000 + (random32() % 1_000));
    yield { post, metric: VIEWS, kind: 'add', value: 1, ...NOBODY, session: key(), seq: 1 };
  }
}

function key() {
  return { hi: random32(), lo: random32() };
}

/** Different ids, the same ones at every call; the digits in front count, so that none comes twice. */
function* shuffledIds(count) {
  const random = randomOf(2);
  const step = 7_368_787;
  for (let i = 0, at = 0; i < count; i++, at = (at + step) % 90_000_000) {
    const more = String(random()).padStart(10, '0') + String(random());
    yield String(10_000_000 + at) + more.slice(0, random() % 12);
  }
}

/** As a clock and a counter make them: 22 bits in a millisecond. */
function* growingIds(count) {
  const random = randomOf(3);
  let id = 1_150_000_000_000_000_000n;
  for (let i = 0; i < count; i++) yield String((id += BigInt(1 + (random() % 10_000_000))));
}

/** xorshift32 (Marsaglia, 2003): the same numbers in every run. */
function randomOf(seed) {
  let x = Math.imul(seed, 0x9e3779b1) | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

async function withStore(measure) {
  const path = await mkdtemp(join(tmpdir(), 'tallycast-bytes-'));
  const metrics = Metrics.parse('likes:toggle,views:tally');
  const store = new EmbeddedStore({ path, buckets: BUCKETS, metrics, region: 'local', nonce: () => 1 });
  const numbers = new Array(BUCKETS).fill(0);
  try {
    const commitAll = async (operations) => {
      let group = [];
      for (const operation of operations)
        if (group.push(operation) === GROUP) await commit(store, numbers, group.splice(0));
      await commit(store, numbers, group);
    };
    return await measure(commitAll, async () => (await stat(join(path, 'counters.mdb'))).size);
  } finally {
    await store.close();
    await rm(path, { recursive: true });
  }
}

/** A batch a bucket, in one group commit. */
async function commit(store, numbers, group) {
  const byBucket = new Map();
  for (const operation of group) {
    const bucket = bucketOf(operation.post, BUCKETS);
    if (!byBucket.has(bucket)) byBucket.set(bucket, []);
    byBucket.get(bucket).push(operation);
  }
  const batches = [...byBucket].map(([bucket, operations]) => {
    return { bucket, incarnation: 'bench-01', n: ++numbers[bucket], atMs: AT_MS, operations };
  });
  await Promise.all(batches.map((batch) => store.commit(batch)));
}

function print(rows) {
  for (const { what, count, bytes, target } of rows) {
    const each = bytes / count;
    const verdict = target === null ? '' : each <= target ? `at most ${target}: met` : `at most ${target}: MISSED`;
    console.log(
      `${what.padEnd(62)} ${String(count).padStart(9)}  ${each.toFixed(1).padStart(6)} bytes each  ${verdict}`,
    );
  }
}
