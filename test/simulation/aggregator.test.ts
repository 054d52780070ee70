import { describe, expect, test } from '@jest/globals';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { computeTotals } from '../../src/counters/bucket.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import type { RemoteToggle } from '../../src/counters/replication/delta.js';
import { LOG_PARTITIONS } from '../../src/log/event-log.js';
import { encodeEntry, type LoggedEvent } from '../../src/log/log-entry.js';
import { key, like, view } from '../contract/operations.js';
import { Random } from '../support/random.js';
import { BUCKETS, METRICS } from './log-store.js';
import { LogWorld } from './log-world.js';

/** Posts of two partitions. */
const [POST = '', ELSEWHERE = ''] = [0, 1].map((bucket) => {
  for (let i = 0; ; i++) if (bucketOf(`post-${i}`, BUCKETS) === bucket) return `post-${i}`;
});
/** A lease and two intervals. */
const SETTLED_MS = 3_000;

describe('the aggregator', () => {
  test('toggles that events have changed are emitted, for connections of their actors', async () => {
    const world = new LogWorld(new Random(1));
    const toggled: RemoteToggle[] = [];
    for (const { aggregator } of world.gateways) aggregator.toggled.subscribe((toggles) => toggled.push(...toggles));
    const liked = { ...like(POST, key(7)), notifiesActor: true };
    const silent = { ...like(POST, key(8)), notifiesActor: false };
    await append(world, liked, liked, silent, { ...liked, value: 0 });
    await world.clock.advance(SETTLED_MS);
    const toggle = { post: POST, metric: LIKES, actor: key(7) };
    expect(toggled).toEqual([
      { ...toggle, on: true },
      { ...toggle, on: false },
    ]);
  });

  test('events that were trimmed before they were counted are reported once, and later ones are counted', async () => {
    const world = new LogWorld(new Random(1));
    await append(world, viewOf(POST));
    await world.log.trim(world.log.name, 0, Infinity);
    for (let i = 0; i < 3; i++) {
      await append(world, viewOf(POST));
      await world.clock.advance(SETTLED_MS);
    }
    expect(readViews(world, POST)).toBe(3);
    expect(world.warnings).toEqual([expect.stringContaining('events were trimmed before')]);
    expect(sumStats(world)).toEqual({ appliedEvents: 3, missedRanges: 3 });
  });

  test('the lag grows while the store is down, also of events that come meanwhile', async () => {
    const world = new LogWorld(new Random(1));
    await world.clock.advance(SETTLED_MS);
    expect(readLag(world)).toBe(0);
    world.store.weather.isDown = true;
    await world.clock.advance(10_000);
    expect(readLag(world)).toBe(0);
    await append(world, viewOf(POST));
    await world.clock.advance(30_000);
    expect(readLag(world)).toBe(30);
    world.store.weather.isDown = false;
    await world.clock.advance(2 * SETTLED_MS);
    expect([readLag(world), readViews(world, POST)]).toEqual([0, 1]);
  });

  test('applied entries are kept for a while, and shorter if the log fills up', async () => {
    const waiting: number[][] = [];
    for (const events of [20, 40]) {
      const world = new LogWorld(new Random(1));
      await append(world, ...Array.from({ length: events }, () => viewOf(POST)));
      const left: number[] = [];
      for (const ms of [SETTLED_MS, 15_000, 5_000]) {
        await world.clock.advance(ms);
        left.push(world.waitingEntries);
      }
      waiting.push(left);
    }
    expect(waiting).toEqual([
      [1, 1, 0],
      [1, 0, 0],
    ]);
  });

  test('a milestone is reached by a single event, and what comes after it is summed again', async () => {
    const world = new LogWorld(new Random(1));
    world.store.arm(POST, VIEWS, 20);
    // A page has 8 events, and a batch 4 operations.
    for (let value = 1; value <= 10; value++) await append(world, { ...viewOf(POST), value });
    await world.clock.advance(SETTLED_MS);
    const [milestones] = [...world.store.bucket(bucketOf(POST, BUCKETS)).milestones.list()];
    expect(milestones).toMatchObject({ milestones: { armed: [], reached: [{ n: 20, value: 6, total: 21 }] } });
    expect([readViews(world, POST), sumStats(world).appliedEvents]).toEqual([55, 10]);
    const batches = world.store.batches.filter(({ operations }) => operations.length > 0);
    expect(batches.map(({ hasSums, operations }) => [hasSums, operations.map(({ value }) => value)])).toEqual([
      [true, [36]],
      [false, [1, 2, 3, 4]],
      [true, [26]],
      [false, [5, 6, 7, 8]],
      [true, [19]],
    ]);
  });

  test('a failure that is none of a server is reported once, and other partitions are counted', async () => {
    const world = new LogWorld(new Random(1));
    world.store.damagedBucket = bucketOf(POST, BUCKETS);
    await append(world, viewOf(POST));
    await append(world, viewOf(ELSEWHERE));
    await world.clock.advance(20_000);
    expect(world.warnings).toEqual([expect.stringContaining('a value is damaged')]);
    expect(readViews(world, ELSEWHERE)).toBe(1);
    world.store.damagedBucket = null;
    await world.clock.advance(SETTLED_MS);
    expect(readViews(world, POST)).toBe(1);
  });
});

function viewOf(post: string): LoggedEvent {
  return { ...view(post), notifiesActor: false };
}

async function append(world: LogWorld, ...events: LoggedEvent[]): Promise<void> {
  const payload = encodeEntry(world.clock.wallMs(), events, METRICS);
  const partition = bucketOf(events[0]!.post, BUCKETS) % LOG_PARTITIONS;
  await world.log.append([{ partition, events: events.length, payload }]);
}

function readViews(world: LogWorld, post: string): number {
  const state = world.store.bucket(bucketOf(post, BUCKETS)).post(post);
  return state === undefined ? 0 : computeTotals(state, METRICS)[VIEWS]!;
}

function readLag(world: LogWorld): number {
  return Math.max(...world.gateways.map(({ aggregator }) => aggregator.lagSeconds));
}

function sumStats(world: LogWorld): { readonly appliedEvents: number; readonly missedRanges: number } {
  const sum = { appliedEvents: 0, missedRanges: 0 };
  for (const { aggregator } of world.gateways) {
    sum.appliedEvents += aggregator.stats.appliedEvents;
    sum.missedRanges += aggregator.stats.missedRanges;
  }
  return sum;
}
