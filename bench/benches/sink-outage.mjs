/** A million posts that changed while PostgreSQL was down, and the same posts restored from it. */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { URL } from 'node:url';
import { short } from '../harness/alternate.mjs';
import { startPostgres } from '../harness/postgres.mjs';
import { start, temporaryDirectory } from '../harness/processes.mjs';
import { check } from '../harness/results.mjs';
import { ROOT } from '../harness/servers.mjs';
import { BUCKETS, commitAll, growingIds, likeAndViewOfEach } from '../workload.mjs';

export const title = 'posts a second to PostgreSQL after an outage, and from it in a restore, with and without members';
/** `posts` changed during the outage: each has a like and a view. */
export const options = { posts: 1_000_000 };

const POSTS_A_SECOND_MIN = 10_000;
const METRICS = 'likes:toggle,views:tally';
const REGION = 'local';
const PAGE_POSTS = 500;
const PAGE_MEMBERS = 5_000;
const RESTORE_MAX_MS = 900_000;

export async function run({ log, cores, options: { posts } }) {
  const postgres = await startPostgres(cores.load);
  const data = [];
  for (const sinkMembers of [false, true]) {
    const name = sinkMembers ? 'counts and members' : 'counts';
    const url = postgres.createDatabase();
    const directory = temporaryDirectory();
    const copied = await measureCopy(url, directory, posts, sinkMembers);
    log(`  ${name}: copied ${posts} posts in ${copied.toFixed(1)} s`);
    const restored = await measureRestore(url, directory, sinkMembers, cores);
    log(`  ${name}: restored in ${restored.seconds.toFixed(1)} s, ${restored.wrongPosts} wrong posts`);
    data.push({ name, copiedPerSecond: posts / copied, restoredPerSecond: posts / restored.seconds, ...restored });
  }
  await postgres.end();
  return {
    tables: [
      {
        title: 'posts a second',
        columns: ['', 'copied after an outage', 'restored'],
        rows: data.map(({ name, copiedPerSecond, restoredPerSecond }) => [
          name,
          short(copiedPerSecond),
          short(restoredPerSecond),
        ]),
      },
    ],
    checks: data.flatMap(({ name, copiedPerSecond, wrongPosts }) => [
      check(`${name}: posts a second after an outage`, copiedPerSecond, { atLeast: POSTS_A_SECOND_MIN }),
      check(`${name}: posts with other totals or members after the restore`, wrongPosts, { atMost: 0 }),
    ]),
    flags: [],
    data,
  };
}

/** @returns seconds from the first cycle of a feeder until the sink has everything */
async function measureCopy(url, path, posts, sinkMembers) {
  const { Feeder } = await from('sinks/feeder');
  const { PostgresSink } = await from('sinks/postgres/postgres-sink');
  const { systemClock: clock } = await from('common/clock');
  const { store, metrics } = await openStore(path);
  await commitAll(store, likeAndViewOfEach(growingIds(posts)), 1_000);
  const warn = (message) => console.log(message);
  const shared = { buckets: BUCKETS, metrics, region: REGION, clock, warn };
  const sink = new PostgresSink({ ...shared, url: new URL(url), sinkMembers });
  const feeding = { ...shared, intervalMs: 1_000, random: Math.random };
  const feeder = new Feeder(store.changeStore, sink, { term: 1 }, feeding);
  const startedMs = performance.now();
  feeder.start();
  while (feeder.status.postsWritten < posts || feeder.status.lagSeconds > 0.9) await pause(20);
  const seconds = (performance.now() - startedMs) / 1_000;
  await feeder.close();
  await store.close();
  return seconds;
}

/** Restores into a new directory, and compares it with the one that was copied. */
async function measureRestore(url, directory, sinkMembers, cores) {
  const restored = temporaryDirectory();
  const env = {
    SINK_URL: url,
    SINK_MEMBERS: String(sinkMembers),
    DATA_DIR: restored,
    METRICS,
    BUCKETS: String(BUCKETS),
  };
  const startedMs = performance.now();
  const command = start(process.execPath, [join(ROOT, 'dist', 'main.js'), 'restore'], { core: cores.server, env });
  const { posts } = await command.record('done', RESTORE_MAX_MS);
  const seconds = (performance.now() - startedMs) / 1_000;
  const [before, after] = [await readAll(directory, sinkMembers), await readAll(restored, sinkMembers)];
  const wrongPosts = [...before].filter(([post, counts]) => after.get(post) !== counts).length;
  return { posts, seconds, wrongPosts: wrongPosts + Math.abs(after.size - before.size) };
}

/** @returns by post: its totals, and its members if they are kept */
async function readAll(path, withMembers) {
  const { store } = await openStore(path);
  const everyBucket = new Set(Array.from({ length: BUCKETS }, (_, bucket) => bucket));
  const found = new Map();
  for (let cursor = ''; cursor !== null;) {
    const { posts, next } = await store.changeStore.readAll(everyBucket, cursor, PAGE_POSTS);
    for (const { post, totals } of posts) found.set(post, totals.join());
    if (withMembers)
      await addMembers(
        store,
        posts.map(({ post }) => post),
        found,
      );
    cursor = next;
  }
  await store.close();
  return found;
}

async function addMembers(store, posts, found) {
  for (let cursor = ''; cursor !== null;) {
    const { members, next } = await store.changeStore.readMembers(posts, cursor, PAGE_MEMBERS);
    for (const { post, metric, actor } of members)
      found.set(post, `${found.get(post)} ${metric}:${actor.hi}.${actor.lo}`);
    cursor = next;
  }
}

async function openStore(path) {
  const { Metrics } = await from('counters/metrics');
  const { EmbeddedStore } = await from('store/embedded/embedded-store');
  const metrics = Metrics.parse(METRICS);
  const about = { path, buckets: BUCKETS, metrics, region: REGION, actorKeys: 'hash', nonce: () => 1 };
  return { store: new EmbeddedStore(about), metrics };
}

function from(path) {
  return import(`../../build/${path}.js`);
}
