import { beforeEach, describe, expect, it } from '@jest/globals';
import { ReferenceStore } from '../../test/contract/reference-store.js';
import type { Clock } from '../common/clock.js';
import { Metrics } from '../counters/metrics.js';
import type { Delta } from '../counters/replication/delta.js';
import type { ChangesRequest, BucketStatus } from '../store/replicated-store.js';
import { ChangeReader } from './change-reader.js';

const INTERVAL_MS = 100;
const LED = [0, 1];

/** That says how often it was asked. */
class CountedStore extends ReferenceStore {
  readonly asked: number[] = [];
  standings = 0;

  override bucketStatus(buckets: readonly number[]): Promise<readonly BucketStatus[]> {
    this.standings += 1;
    return super.bucketStatus(buckets);
  }

  override changesSince(
    asked: readonly ChangesRequest[],
    peers: readonly string[],
    limit: number,
  ): Promise<readonly (Delta | null)[]> {
    this.asked.push(...asked.map(({ bucket }) => bucket));
    return super.changesSince(asked, peers, limit);
  }
}

describe('links that begin their rounds at the same tick', () => {
  let nowMs: number;
  let store: CountedStore;
  let collector: ChangeReader;

  beforeEach(() => {
    nowMs = 1_000;
    const own = { region: 'eu', epoch: 1, nonce: 1 };
    store = new CountedStore(Metrics.parse('likes:toggle,views:tally'), LED.length, own, () => 1);
    const clock = { nowMs: () => nowMs } as Clock;
    collector = new ChangeReader(store, ['us', 'ap'], clock, INTERVAL_MS, 30);
  });

  it('share what they read, as far as they ask the same', async () => {
    const us = collector.joinRead(LED);
    const ap = collector.joinRead(LED);
    const [standing] = [...(await us.bucketStatuses).values()];
    const after = standing!.clock;
    const first = await us.changesSince(LED.map((bucket) => ({ bucket, after, ackedUpTo: 0 })));
    const second = await ap.changesSince([
      { bucket: 0, after, ackedUpTo: 0 },
      { bucket: 1, after: after + 1, ackedUpTo: 0 },
    ]);
    expect([ap, store.standings, store.asked]).toEqual([us, 1, [0, 1, 1]]);
    expect(second[0]).toBe(first[0]);
    expect(second[1]).toMatchObject({ bucket: 1, after: after + 1 });
  });

  it('read anew at the next one, or after another life has begun', () => {
    const before = collector.joinRead(LED);
    nowMs += INTERVAL_MS;
    const next = collector.joinRead(LED);
    collector.invalidate();
    expect(new Set([before, next, collector.joinRead(LED)]).size).toBe(3);
  });

  it('meet again at a tick, wherever they are', () => {
    expect([1_030, 1_029, 1_045, 1_079, 1_081].map((atMs) => collector.nextAtMs(atMs))).toEqual([
      1_130, 1_130, 1_130, 1_130, 1_230,
    ]);
  });
});
