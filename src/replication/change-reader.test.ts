import { beforeEach, describe, expect, it } from '@jest/globals';
import { ReferenceStore } from '../../test/contract/reference-store.js';
import type { Clock } from '../common/clock.js';
import { Metrics } from '../counters/metrics.js';
import type { Shipment } from '../counters/replication/delta.js';
import type { Asked, BucketStanding } from '../store/replicated-store.js';
import { ChangeReader } from './change-reader.js';

const SHIP_MS = 100;
const LED = [0, 1];

/** That says how often it was asked. */
class CountedStore extends ReferenceStore {
  readonly asked: number[] = [];
  standings = 0;

  override standing(buckets: readonly number[]): Promise<readonly BucketStanding[]> {
    this.standings += 1;
    return super.standing(buckets);
  }

  override collect(
    asked: readonly Asked[],
    peers: readonly string[],
    limit: number,
  ): Promise<readonly (Shipment | null)[]> {
    this.asked.push(...asked.map(({ bucket }) => bucket));
    return super.collect(asked, peers, limit);
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
    collector = new ChangeReader(store, ['us', 'ap'], clock, SHIP_MS, 30);
  });

  it('share what they read, as far as they ask the same', async () => {
    const us = collector.round(LED);
    const ap = collector.round(LED);
    const [standing] = [...(await us.standings).values()];
    const after = standing!.clock;
    const first = await us.collect(LED.map((bucket) => ({ bucket, after, confirmed: 0 })));
    const second = await ap.collect([
      { bucket: 0, after, confirmed: 0 },
      { bucket: 1, after: after + 1, confirmed: 0 },
    ]);
    expect([ap, store.standings, store.asked]).toEqual([us, 1, [0, 1, 1]]);
    expect(second[0]).toBe(first[0]);
    expect(second[1]).toMatchObject({ bucket: 1, after: after + 1 });
  });

  it('read anew at the next one, or after another life has begun', () => {
    const before = collector.round(LED);
    nowMs += SHIP_MS;
    const next = collector.round(LED);
    collector.forget();
    expect(new Set([before, next, collector.round(LED)]).size).toBe(3);
  });

  it('meet again at a tick, wherever they are', () => {
    expect([1_030, 1_029, 1_045, 1_079, 1_081].map((atMs) => collector.nextAtMs(atMs))).toEqual([
      1_130, 1_130, 1_130, 1_130, 1_230,
    ]);
  });
});
