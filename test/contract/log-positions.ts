import { expect, it } from '@jest/globals';
import type { Batch } from '../../src/counters/batch.js';
import { VIEWS } from '../../src/counters/metrics.js';
import { DUPLICATE } from '../../src/counters/operation.js';
import { key, like, postIn, START_MS, view } from './operations.js';
import { applied, type StoreUnderTest } from './store-under-test.js';

const POST = postIn(0);
const LOG = '0123456789abcdef';
/** Offsets as logs have them. */
const FIRST = 2 ** 40;
const LAST = 2 ** 53 - 1;

export function logPositionTests(under: StoreUnderTest): void {
  const batch = (afterInLog: number, batchNumber: number, log = LOG, bucket = 0): Batch => {
    const operations = [view(postIn(bucket)), like(postIn(bucket), key(1))];
    return { bucket, producerId: log, batchNumber, afterInLog, atMs: START_MS, operations };
  };
  const views = async (): Promise<number> => (await under.view(POST)).counts.totals[VIEWS]!;

  it('a bucket has position 0 in a log of which it knows nothing', async () => {
    expect(await under.store.logPosition(LOG, 0)).toBe(0);
  });

  it('a batch that continues at the position is applied and moves it', async () => {
    await applied(under.store, batch(0, FIRST + 7));
    await applied(under.store, batch(FIRST + 7, LAST));
    expect(await views()).toBe(2);
    expect(await under.store.logPosition(LOG, 0)).toBe(LAST);
    expect(await under.store.logPosition(LOG, 1)).toBe(0);
  });

  it('a batch of a log that is sent again is stale', async () => {
    await applied(under.store, batch(0, FIRST));
    expect(await under.store.commit(batch(0, FIRST))).toEqual({ kind: 'stale', last: FIRST });
    expect(await under.store.commit(batch(FIRST - 1, FIRST))).toEqual({ kind: 'stale', last: FIRST });
    expect(await views()).toBe(1);
  });

  it('a batch that leaves out a part of the log changes nothing', async () => {
    await applied(under.store, batch(0, FIRST));
    expect(await under.store.commit(batch(FIRST + 1, FIRST + 2))).toEqual({ kind: 'gap', last: FIRST });
    expect(await views()).toBe(1);
    expect(await under.store.logPosition(LOG, 0)).toBe(FIRST);
  });

  it('logs and buckets have positions of their own', async () => {
    await applied(under.store, batch(0, FIRST + 1));
    await applied(under.store, batch(0, FIRST + 2, 'fedcba9876543210'));
    await applied(under.store, batch(0, FIRST + 3, LOG, 1));
    expect(await under.store.logPosition(LOG, 0)).toBe(FIRST + 1);
    expect(await under.store.logPosition('fedcba9876543210', 0)).toBe(FIRST + 2);
    expect(await under.store.logPosition(LOG, 1)).toBe(FIRST + 3);
  });

  it('a batch without operations moves the position', async () => {
    const { counts } = await applied(under.store, { ...batch(0, FIRST), operations: [] });
    expect(counts.size).toBe(0);
    expect(await under.store.logPosition(LOG, 0)).toBe(FIRST);
  });

  it('the sessions of a log are those of sockets', async () => {
    const operations = [view(POST, 1, { session: key(5), seq: 3 })];
    await under.apply(operations);
    const { outcomes } = await applied(under.store, { ...batch(0, FIRST), operations });
    expect([...outcomes]).toEqual([DUPLICATE]);
  });

  it('a reopened store has the positions', async () => {
    await applied(under.store, batch(0, FIRST + 9));
    const reopened = await under.reopen();
    expect(await reopened.logPosition(LOG, 0)).toBe(FIRST + 9);
    expect(await reopened.commit(batch(0, FIRST + 9))).toEqual({ kind: 'stale', last: FIRST + 9 });
  });
}
