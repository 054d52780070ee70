/**
 * Bytes on disk of the embedded store: the size of its data file divided by the number of items. `group` operations share
 * a commit, as under load. LMDB never overwrites a page, so larger groups leave more free pages in the file (a million
 * likes on one post take 14 bytes each in groups of 200, 20 in groups of 1,000, 30 in groups of 4,000).
 */
import { rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Metrics } from '../../build/counters/metrics.js';
import { EmbeddedStore } from '../../build/store/embedded/embedded-store.js';
import { temporaryDirectory } from '../harness/processes.mjs';
import {
  BUCKETS,
  commitAll,
  growingIds,
  likeOfEach,
  likesOver,
  shuffledIds,
  twoOfEach,
  viewsOfSessions,
  visitsOver,
} from '../workload.mjs';

/** @returns rows `{ what, count, bytes, target }`: total bytes of `count` items; each should take at most `target` */
export async function embeddedRows({ posts, likes, group }) {
  return [
    ...(await postRows('random ids of 8 to 19 digits', () => shuffledIds(posts), posts, group)),
    ...(await postRows('growing ids of 19 digits', () => growingIds(posts), posts, group)),
    ...(await rowOf('likes on one post', likes, likesOver(likes, 1), group, 24)),
    ...(await rowOf('likes over 1,000 posts', likes, likesOver(likes, 1_000), group, 24)),
    ...(await rowOf('marks of sessions', likes, viewsOfSessions(likes), group, null)),
    ...(await rowOf('marks of visits', likes, visitsOver(likes, 1_000), group, null)),
    await registerRow(likes, group),
  ];
}

/** Measures the additional bytes of a like while another region may not have received it. */
async function registerRow(count, group) {
  const [[received], [unreceived]] = [
    await rowOf('', count, likesOver(count, 1_000), group, null, 'local'),
    await rowOf('', count, likesOver(count, 1_000), group, null, 'eu'),
  ];
  return {
    what: 'more for a like, while another region is away',
    count,
    bytes: unreceived.bytes - received.bytes,
    target: 24,
  };
}

/** Measures posts with a count of likes and one of views, then one like of an actor on each. */
async function postRows(name, ids, posts, group) {
  return withStore(async (store, size) => {
    await commitAll(store, twoOfEach(ids()), group);
    const bytes = await size();
    await commitAll(store, likeOfEach(ids()), group);
    const liked = await size();
    return [
      { what: `posts with likes and views, ${name}`, count: posts, bytes, target: 100 },
      { what: `one like on each of them, ${name}`, count: posts, bytes: liked - bytes, target: 24 },
    ];
  });
}

async function rowOf(what, count, operations, group, target, region = 'local') {
  return withStore(async (store, size) => {
    const before = await size();
    await commitAll(store, operations, group);
    return [{ what, count, bytes: (await size()) - before, target }];
  }, region);
}

async function withStore(measure, region = 'local') {
  const path = temporaryDirectory();
  const metrics = Metrics.parse('likes:toggle,views:unique@30m');
  const about = { path, buckets: BUCKETS, actorKeys: 'hash', metrics, region, nonce: () => 1 };
  const store = new EmbeddedStore(region === 'local' ? about : { ...about, replication: { wallMs: () => Date.now() } });
  try {
    return await measure(store, async () => (await stat(join(path, 'counters.mdb'))).size);
  } finally {
    await store.close();
    rmSync(path, { recursive: true });
  }
}
