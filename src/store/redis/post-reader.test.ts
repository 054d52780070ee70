import { expect, it } from '@jest/globals';
import { SimulatedClock } from '../../../test/simulation/simulated-clock.js';
import type { PostView } from '../counter-store.js';
import type { CounterScripts } from './counter-scripts.js';
import { PostReader } from './post-reader.js';

const CALL_POSTS_MAX = 250;

function viewOf(post: string): PostView {
  return { counts: { post, e: '1', v: 0, updatedAtMs: null, totals: [], live: 0 }, on: 0 };
}

/** @param failures  of reads, before they are answered */
function setUp(failures: number) {
  const clock = new SimulatedClock();
  const pages: number[] = [];
  const scripts: Pick<CounterScripts, 'read' | 'open'> = {
    read: (_, posts) => {
      if (failures-- > 0) return Promise.reject(new Error('down'));
      pages.push(posts.length);
      return Promise.resolve({ isCurrent: true, views: posts.map(viewOf) });
    },
    open: () => Promise.resolve(),
  };
  return { clock, pages, reader: new PostReader(scripts as CounterScripts, 1, clock) };
}

it('many posts of a bucket are read by several calls', async () => {
  const { reader, pages } = setUp(0);
  const posts = Array.from({ length: 2 * CALL_POSTS_MAX + 1 }, (_, i) => `post-${i}`);
  const views = await reader.read(posts, null);
  expect([...views.keys()]).toEqual(posts);
  expect(pages).toEqual([CALL_POSTS_MAX, CALL_POSTS_MAX, 1]);
});

it('a read is retried while Redis is down', async () => {
  const { reader, clock } = setUp(3);
  const reading = reader.read(['a'], null);
  await clock.advance(300);
  expect((await reading).get('a')).toEqual(viewOf('a'));
});

it('a read fails when Redis stays down for seconds, and at once when the store is closed', async () => {
  const { reader, clock } = setUp(Infinity);
  const reading = expect(reader.read(['a'], null)).rejects.toThrow('down');
  await clock.advance(3_200);
  await reading;
  reader.close();
  await expect(reader.read(['a'], null)).rejects.toThrow('down');
  expect(clock.timers).toBe(0);
});
