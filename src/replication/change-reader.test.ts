import { beforeEach, describe, expect, it } from '@jest/globals';
import { ReferenceStore } from '../../test/contract/reference-store.js';
import type { Clock } from '../common/clock.js';
import { Metrics } from '../counters/metrics.js';
import type { Delta } from '../counters/replication/delta.js';
import type { BucketStatus, ChangesRequest } from '../store/replicated-store.js';
import { ChangeReader } from './change-reader.js';

const INTERVAL_MS = 100;
const LEASED = [0, 1];

/** A store that counts its reads. */
class CountedStore extends ReferenceStore {
  readonly bucketsRead: number[] = [];
  statusReads = 0;

  override bucketStatus(buckets: readonly number[]): Promise<readonly BucketStatus[]> {
    this.statusReads += 1;
    return super.bucketStatus(buckets);
  }

  override changesSince(
    requests: readonly ChangesRequest[],
    peers: readonly string[],
    limit: number,
  ): Promise<readonly (Delta | null)[]> {
    this.bucketsRead.push(...requests.map(({ bucket }) => bucket));
    return super.changesSince(requests, peers, limit);
  }
}

describe('change reader', () => {
  let nowMs: number;
  let store: CountedStore;
  let reader: ChangeReader;

  beforeEach(() => {
    nowMs = 1_000;
    const own = { region: 'eu', epoch: 1, nonce: 1 };
    store = new CountedStore(Metrics.parse('likes:toggle,views:tally'), LEASED.length, own, () => 1);
    const clock = { nowMs: () => nowMs } as Clock;
    reader = new ChangeReader(store, ['us', 'ap'], clock, INTERVAL_MS, 30);
  });

  it('the same changes are read once for links that start an exchange at the same tick', async () => {
    const us = reader.joinRead(LEASED);
    const ap = reader.joinRead(LEASED);
    const [status] = [...(await us.bucketStatuses).values()];
    const after = status!.clock;
    const first = await us.changesSince(LEASED.map((bucket) => ({ bucket, after, ackedUpTo: 0 })));
    const second = await ap.changesSince([
      { bucket: 0, after, ackedUpTo: 0 },
      { bucket: 1, after: after + 1, ackedUpTo: 0 },
    ]);
    expect([ap, store.statusReads, store.bucketsRead]).toEqual([us, 1, [0, 1, 1]]);
    expect(second[0]).toBe(first[0]);
    expect(second[1]).toMatchObject({ bucket: 1, after: after + 1 });
  });

  it('changes are read again at the next tick and after an invalidation', () => {
    const before = reader.joinRead(LEASED);
    nowMs += INTERVAL_MS;
    const next = reader.joinRead(LEASED);
    reader.invalidate();
    expect(new Set([before, next, reader.joinRead(LEASED)]).size).toBe(3);
  });

  it('every exchange is scheduled at a tick', () => {
    expect([1_030, 1_029, 1_045, 1_079, 1_081].map((atMs) => reader.nextAtMs(atMs))).toEqual([
      1_130, 1_130, 1_130, 1_130, 1_230,
    ]);
  });
});
