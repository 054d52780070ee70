import { expect, it } from '@jest/globals';
import { SimulatedClock, settled } from '../../../test/simulation/simulated-clock.js';
import type { PostReader } from './post-reader.js';
import { WatchedRefresh } from './watched-refresh.js';

const REREAD_INTERVAL_MS = 3_000;

/** A reader whose reads end when the test calls the functions of `reads`. */
function setUp() {
  const clock = new SimulatedClock();
  const reads: ((error?: Error) => void)[] = [];
  const reader: Pick<PostReader, 'splitByBucket' | 'readPage'> = {
    splitByBucket: (posts) => [...posts].map((post) => ({ bucket: 0, posts: [post] })),
    readPage: () => new Promise((resolve, reject) => reads.push((error) => (error ? reject(error) : resolve([])))),
  };
  const counted: number[] = [];
  const refresh = new WatchedRefresh(
    reader as PostReader,
    clock,
    () => ['a'],
    (counts) => counted.push(counts.length),
  );
  return { clock, reads, counted, refresh };
}

it('watched posts are read again after each interval, even if a read failed', async () => {
  const { clock, reads, counted } = setUp();
  await clock.advance(REREAD_INTERVAL_MS);
  reads[0]!(new Error('down'));
  await settled();
  await clock.advance(REREAD_INTERVAL_MS);
  reads[1]!();
  await settled();
  expect([reads.length, counted.length]).toEqual([2, 1]);
});

it('requests to read all posts that come during a read lead to one more', async () => {
  const { reads, refresh } = setUp();
  for (let i = 0; i < 3; i++) void refresh.readAll();
  reads[0]!();
  await settled();
  reads[1]!();
  await settled();
  expect(reads.length).toBe(2);
});

it('a closed store reads no more', async () => {
  const { clock, reads, refresh } = setUp();
  refresh.close();
  await clock.advance(2 * REREAD_INTERVAL_MS);
  expect([reads.length, clock.timers]).toEqual([0, 0]);
});
