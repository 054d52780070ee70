/**
 * Bytes on disk of the embedded store: the size of its data file, divided by what was put in.
 *
 *     node bench/bytes-embedded.mjs [posts=1000000] [likes=1000000] [group=1000] [--json FILE]
 *
 * Needs `npm run build`. Writes to a temporary directory that it removes. `group` operations share a commit, as under
 * load; LMDB never writes a page in place, so the larger the groups, the more free pages the file keeps for the next
 * (a million likes on one post: 14 bytes each in groups of 200, 20 in groups of 1,000, 30 in groups of 4,000).
 */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metrics } from '../dist/counters/metrics.js';
import { EmbeddedStore } from '../dist/store/embedded/embedded-store.js';
import {
  BUCKETS,
  commitAll,
  growingIds,
  likeOfEach,
  likesOver,
  optionsOf,
  report,
  shuffledIds,
  twoOfEach,
  viewsOfSessions,
} from './workload.mjs';

const { posts: POSTS, likes: LIKES, group: GROUP, jsonFile } = optionsOf({ posts: 1e6, likes: 1e6, group: 1_000 });

const rows = [
  ...(await postRows('random ids of 8 to 19 digits', shuffledIds)),
  ...(await postRows('growing ids of 19 digits', growingIds)),
  ...(await rowOf('likes on one post', LIKES, likesOver(LIKES, 1), 24)),
  ...(await rowOf('likes over 1,000 posts', LIKES, likesOver(LIKES, 1_000), 24)),
  ...(await rowOf('marks of sessions', LIKES, viewsOfSessions(LIKES), null)),
];
await report(rows, jsonFile, { group: GROUP });

/** Posts with a count of likes and of views; then a like by an actor on each. */
async function postRows(name, idsOf) {
  return withStore(async (store, size) => {
    await commitAll(store, twoOfEach(idsOf(POSTS)), GROUP);
    const posts = await size();
    await commitAll(store, likeOfEach(idsOf(POSTS)), GROUP);
    const liked = await size();
    return [
      { what: `posts with likes and views, ${name}`, count: POSTS, bytes: posts, target: 100 },
      { what: `one like on each of them, ${name}`, count: POSTS, bytes: liked - posts, target: 24 },
    ];
  });
}

async function rowOf(what, count, operations, target) {
  return withStore(async (store, size) => {
    const before = await size();
    await commitAll(store, operations, GROUP);
    return [{ what, count, bytes: (await size()) - before, target }];
  });
}

async function withStore(measure) {
  const path = await mkdtemp(join(tmpdir(), 'tallycast-bytes-'));
  const metrics = Metrics.parse('likes:toggle,views:tally');
  const store = new EmbeddedStore({ path, buckets: BUCKETS, metrics, region: 'local', nonce: () => 1 });
  try {
    return await measure(store, async () => (await stat(join(path, 'counters.mdb'))).size);
  } finally {
    await store.close();
    await rm(path, { recursive: true });
  }
}
