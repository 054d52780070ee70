import { expect, it } from '@jest/globals';
import type { Batch } from '../../src/counters/batch.js';
import { MARK_GENERATION_MS } from '../../src/counters/bucket.js';
import { VIEWS } from '../../src/counters/metrics.js';
import { APPLIED, DUPLICATE, ON } from '../../src/counters/operation.js';
import { key, Producer, like, postIn, START_MS, unlike, view } from './operations.js';
import { applied, type StoreUnderTest } from './store-under-test.js';

const POST = postIn(0);
const ELSEWHERE = postIn(1);
const ANN = key(1);

export function producerTests(under: StoreUnderTest): void {
  const one = (n: number, incarnation = 'prod-two', bucket = 0): Batch => {
    return {
      bucket,
      producerId: incarnation,
      batchNumber: n,
      atMs: START_MS,
      operations: [view(postIn(bucket)), like(postIn(bucket), ANN)],
    };
  };

  it('a batch that is sent twice gets the same result twice and is counted once', async () => {
    const first = await applied(under.store, one(1));
    const again = await applied(under.store, one(1));
    expect([...again.outcomes]).toEqual([...first.outcomes]);
    expect([...again.counts]).toEqual([...first.counts]);
    expect(again.changed).toEqual([]);
    expect((await under.view(POST)).counts.totals[VIEWS]).toBe(1);
  });

  it('a batch that is sent again gets the current counts', async () => {
    await under.store.commit(one(1));
    await under.apply([view(POST, 5)]);
    expect((await applied(under.store, one(1))).counts.get(POST)).toMatchObject({ v: 2, totals: [1, 6, 0, 0] });
  });

  it('a batch after a gap changes nothing and returns the last number', async () => {
    expect(await under.store.commit(one(2))).toEqual({ kind: 'gap', last: 0 });
    await under.store.commit(one(1));
    expect(await under.store.commit(one(3))).toEqual({ kind: 'gap', last: 1 });
    expect((await under.view(POST)).counts.totals[VIEWS]).toBe(1);
  });

  it('a batch before the last one changes nothing', async () => {
    for (const n of [1, 2, 3]) await under.store.commit(one(n));
    expect(await under.store.commit(one(1))).toEqual({ kind: 'stale', last: 3 });
    expect(await under.store.commit(one(2))).toEqual({ kind: 'stale', last: 3 });
    expect((await under.view(POST)).counts.totals[VIEWS]).toBe(3);
  });

  it('the missing batches close a gap', async () => {
    await under.store.commit(one(2));
    for (const n of [1, 2, 3]) expect((await under.store.commit(one(n))).kind).toBe('applied');
    expect((await under.view(POST)).counts.totals[VIEWS]).toBe(3);
  });

  it('every producer numbers the batches of each bucket separately', async () => {
    for (const n of [1, 2]) {
      for (const incarnation of ['prod-two', 'prod-six', 'prod-ten']) {
        for (const bucket of [0, 1]) await applied(under.store, one(n, incarnation, bucket));
      }
    }
    for (const bucket of [0, 1]) {
      expect((await under.view(postIn(bucket))).counts).toMatchObject({ v: 6, totals: [1, 6, 0, 0] });
      expect(await under.store.commit(one(1, 'prod-six', bucket))).toEqual({ kind: 'stale', last: 2 });
    }
  });
}

export function lastSeqTests(under: StoreUnderTest): void {
  const session = key(100);

  it('a repeated operation of a session takes effect once, through whichever gateway it comes', async () => {
    await under.apply([view(POST, 1, { session, seq: 4 })]);
    const other = new Producer('prod-two');
    const { outcomes, changed } = await applied(
      under.store,
      other.batch(0, [view(POST, 1, { session, seq: 4 }), view(POST, 1, { session, seq: 3 })]),
    );
    expect([...outcomes]).toEqual([DUPLICATE, DUPLICATE]);
    expect(changed).toEqual([]);
    expect((await under.view(POST)).counts).toMatchObject({ v: 1, totals: [0, 1, 0, 0] });
  });

  it('a duplicate returns the state of the toggle', async () => {
    await under.apply([like(POST, ANN, { session, seq: 1 })]);
    await under.apply([unlike(POST, ANN, { session, seq: 2 })]);
    expect([...(await under.apply([like(POST, ANN, { session, seq: 1 })])).outcomes]).toEqual([DUPLICATE]);
    await under.apply([like(POST, ANN, { session, seq: 3 })]);
    expect([...(await under.apply([unlike(POST, ANN, { session, seq: 2 })])).outcomes]).toEqual([DUPLICATE | ON]);
  });

  it('an operation without effect uses up its seq', async () => {
    await under.apply([unlike(POST, ANN, { session, seq: 1 })]);
    expect([...(await under.apply([like(POST, ANN, { session, seq: 1 })])).outcomes]).toEqual([DUPLICATE]);
  });

  it('a batch that is not next uses up no seqs', async () => {
    const operations = [view(POST, 1, { session, seq: 1 })];
    await under.store.commit({ bucket: 0, producerId: 'prod-two', batchNumber: 2, atMs: START_MS, operations });
    expect([...(await under.apply(operations)).outcomes]).toEqual([APPLIED]);
  });

  it('seqs are separate in each bucket', async () => {
    await under.apply([view(POST, 1, { session, seq: 9 })], 0);
    const { outcomes } = await under.apply([view(ELSEWHERE, 1, { session, seq: 1 })], 1);
    expect([...outcomes]).toEqual([APPLIED]);
  });

  it('a last seq is kept for one generation after its own and forgotten after two', async () => {
    const operations = [view(POST, 1, { session, seq: 1 })];
    await under.apply(operations);
    await under.apply([view(POST)], 0, START_MS + MARK_GENERATION_MS);
    expect([...(await under.apply(operations, 0, START_MS + MARK_GENERATION_MS)).outcomes]).toEqual([DUPLICATE]);
    const later = await under.apply(operations, 0, START_MS + 2 * MARK_GENERATION_MS);
    expect([...later.outcomes]).toEqual([APPLIED]);
  });

  it('a session in use is never forgotten', async () => {
    for (let hour = 0; hour < 5; hour++) {
      const seen = { session, seq: hour + 1 };
      const { outcomes } = await under.apply([view(POST, 1, seen), view(POST, 1, seen)], 0, atHour(hour));
      expect([...outcomes]).toEqual([APPLIED, DUPLICATE]);
    }
  });

  function atHour(hour: number): number {
    return START_MS + hour * MARK_GENERATION_MS;
  }
}
