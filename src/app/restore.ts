import { systemClock } from '../common/clock.js';
import type { Settings } from '../config/settings.js';
import { PostgresSink } from '../sinks/postgres/postgres-sink.js';
import { CountsRestore } from '../sinks/restore-counts.js';
import { openRedis, openStore, random64 } from './open-store.js';

/** Rows that are read, and posts that are restored, at once. */
const PAGE_ROWS = 5_000;
/** Posts between two lines of progress. */
const PROGRESS_POSTS = 100_000;

/**
 * Restores an empty store, that of REDIS_URL or DATA_DIR, from the PostgreSQL sink of SINK_URL, which then follows the store. No
 * gateway may use either meanwhile.
 *
 * Cost: some 20,000 posts a second.
 * @param print gets lines of JSON: progress, and a summary
 * @throws Error with one line
 */
export async function restore(settings: Settings, print: (line: string) => void): Promise<void> {
  const url = settings.sinkUrls.find(({ protocol }) => /^postgres(ql)?:$/.test(protocol));
  if (url === undefined) throw new Error('restore needs SINK_URL=postgres://…: the database that has the counts');
  if (settings.peers.length > 0) {
    throw new Error(
      'restore: the rows are sums over all regions, and PEERS is set: start the empty gateway, and its peers give it back what it had',
    );
  }
  const clock = systemClock;
  const warn = (message: string): void => print(JSON.stringify({ warning: message }));
  // Checks the URL, too, and connects to nothing yet.
  const sink = new PostgresSink({ ...settings, url, clock, warn });
  const connections = await openRedis(settings, clock, warn);
  const store = await openStore(settings, connections, clock, clock, warn);
  try {
    const counts = new CountsRestore(store, { ...settings, producerId: random64(), clock });
    await counts.requireEmpty();
    // Checks that the rows are those of this region, with these buckets and metrics.
    await sink.readPositions();
    for (let bucket = 0; bucket < settings.buckets; bucket++) await restoreBucket(sink, bucket, counts, print);
    await sink.adopt();
    print(JSON.stringify({ done: true, posts: counts.posts }));
  } finally {
    await sink.close();
    await store.close();
  }
}

async function restoreBucket(
  sink: PostgresSink,
  bucket: number,
  counts: CountsRestore,
  print: (line: string) => void,
): Promise<void> {
  for (let after: string | undefined = ''; after !== undefined;) {
    const rows = await sink.readRows(bucket, after, PAGE_ROWS);
    const before = counts.posts;
    await counts.add(rows);
    if (Math.floor(before / PROGRESS_POSTS) < Math.floor(counts.posts / PROGRESS_POSTS)) {
      print(JSON.stringify({ posts: counts.posts }));
    }
    after = rows.at(PAGE_ROWS - 1)?.post;
  }
}
