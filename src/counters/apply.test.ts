import { beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryBucket } from '../../test/contract/memory-bucket.js';
import { adjust, key, like, METRICS, save, SAVES, START_MS, unlike, view } from '../../test/contract/operations.js';
import { apply } from './apply.js';
import type { CommitResult } from './batch.js';
import { MARK_GENERATION_MAX, MARK_GENERATION_MS, ensureMetricState } from './bucket.js';
import { LIKES, VIEWS } from './metrics.js';
import { APPLIED, DUPLICATE, ON, type Operation } from './operation.js';
import { COUNT_MAX, increment } from './pn-counter.js';

const REPLICA = { region: 'local', epoch: 1, nonce: 1 };
const ANN = key(1);
const BOB = key(2);

let bucket: MemoryBucket;
let n = 0;

function send(number: number, operations: Operation[], atMs = START_MS): CommitResult {
  return apply(bucket, METRICS, { bucket: 0, producerId: 'prod-one', batchNumber: number, atMs, operations });
}

/** Applies the operations as the next batch. @returns their outcomes */
function outcomes(operations: Operation[], atMs = START_MS): number[] {
  const result = send(++n, operations, atMs);
  if (result.kind !== 'applied') throw new Error(result.kind);
  return [...result.outcomes];
}

function totals(post: string): readonly number[] | undefined {
  const result = send(++n, [unlike(post, key(999))]);
  return result.kind === 'applied' ? result.counts.get(post)?.totals : undefined;
}

/** Sets the anonymous count of a metric of the post. */
function setCount(post: string, metric: number, value: number): void {
  const state = { v: 1, updatedAtMs: START_MS, metrics: [] };
  ensureMetricState(state, metric).counter = increment([], REPLICA, value, 0);
  bucket.setPost(post, state);
}

beforeEach(() => {
  bucket = new MemoryBucket(REPLICA);
  n = 0;
});

describe('a toggle', () => {
  it('a toggle counts an actor once', () => {
    expect(outcomes([like('p', ANN), like('p', ANN), like('p', BOB)])).toEqual([APPLIED | ON, ON, APPLIED | ON]);
    expect(totals('p')).toEqual([2, 0, 0, 0]);
  });

  it('a like can be taken back only by its actor', () => {
    expect(outcomes([like('p', ANN), unlike('p', BOB), unlike('p', ANN)])).toEqual([APPLIED | ON, 0, APPLIED]);
    expect(totals('p')).toEqual([0, 0, 0, 0]);
  });

  it('toggles of other metrics and posts are independent', () => {
    expect(outcomes([like('p', ANN), save('p', ANN), like('q', ANN)])).toEqual(Array(3).fill(APPLIED | ON));
    expect(bucket.post('p')?.metrics[SAVES]?.members).toBe(1);
  });

  it('a toggle without an actor has no effect', () => {
    outcomes([{ ...like('p', ANN), actor: null }]);
    expect(bucket.post('p')).toBeUndefined();
  });
});

describe('a tally', () => {
  it('a tally grows by the values added', () => {
    expect(outcomes([view('p', 3), view('p', 1000)])).toEqual([APPLIED, APPLIED]);
    expect(totals('p')).toEqual([0, 1003, 0, 0]);
  });

  it('a tally never exceeds 2^53 - 1', () => {
    setCount('p', VIEWS, COUNT_MAX - 10);
    expect(outcomes([view('p', 11), view('p', 10), view('p', 1)])).toEqual([0, APPLIED, 0]);
    expect(totals('p')).toEqual([0, COUNT_MAX, 0, 0]);
  });
});

describe('the anonymous count of a toggle', () => {
  it('an anonymous count moves up and down, but not below zero', () => {
    expect(outcomes([adjust('p', -1), adjust('p', 1), adjust('p', -1), adjust('p', -1)])).toEqual([
      0,
      APPLIED,
      APPLIED,
      0,
    ]);
    expect(totals('p')).toEqual([0, 0, 0, 0]);
  });

  it('an anonymous -1 takes no like of an actor away', () => {
    expect(outcomes([like('p', ANN), adjust('p', -1)])).toEqual([APPLIED | ON, 0]);
    expect(totals('p')).toEqual([1, 0, 0, 0]);
  });

  it('neither anonymous counts nor likes raise a total above 2^53 - 1', () => {
    setCount('p', LIKES, COUNT_MAX - 1);
    expect(outcomes([adjust('p', 1), adjust('p', 1), like('p', ANN)])).toEqual([APPLIED, 0, APPLIED | ON]);
    expect(totals('p')).toEqual([COUNT_MAX, 0, 0, 0]);
  });
});

describe('a batch', () => {
  it('a batch raises the version of each changed post by one, however many changes it has', () => {
    const result = send(1, [view('p'), view('p'), like('p', ANN), unlike('q', ANN)], START_MS + 7);
    if (result.kind !== 'applied') throw new Error(result.kind);
    const p = { post: 'p', e: 'local.1.1', v: 1, updatedAtMs: START_MS + 7, totals: [1, 2, 0, 0], live: 0 };
    const q = { post: 'q', e: 'local.1.1', v: 0, updatedAtMs: null, totals: [0, 0, 0, 0], live: 0 };
    expect([...result.counts.values()]).toEqual([p, q]);
    expect(result.changed).toEqual([p]);
  });

  it('a batch that undoes its own change is a change', () => {
    outcomes([like('p', ANN), unlike('p', ANN)]);
    expect(bucket.post('p')?.v).toBe(1);
  });

  it('a batch with an earlier time keeps the time of the last change', () => {
    outcomes([view('p')], START_MS + 7);
    outcomes([view('p')], START_MS);
    expect(bucket.post('p')).toMatchObject({ v: 2, updatedAtMs: START_MS + 7 });
  });
});

describe('the state of a producer', () => {
  it('the last batch sent again gets its outcomes again, with the current counts', () => {
    const first = send(1, [view('p'), like('p', ANN)]);
    apply(bucket, METRICS, {
      bucket: 0,
      producerId: 'prod-two',
      batchNumber: 1,
      atMs: START_MS,
      operations: [view('p')],
    });
    const again = send(1, [view('p'), like('p', ANN)]);
    if (first.kind !== 'applied' || again.kind !== 'applied') throw new Error(again.kind);
    expect(again.outcomes).toEqual(first.outcomes);
    expect(again.changed).toEqual([]);
    expect(again.counts.get('p')).toMatchObject({ v: 2, totals: [1, 2, 0, 0] });
  });

  it('only the batch with the next number is applied', () => {
    expect(send(2, [view('p')])).toEqual({ kind: 'gap', last: 0 });
    for (const number of [1, 2]) expect(send(number, [view('p')]).kind).toBe('applied');
    expect(send(4, [view('p')])).toEqual({ kind: 'gap', last: 2 });
    expect(send(1, [view('p')])).toEqual({ kind: 'stale', last: 2 });
    expect(bucket.post('p')?.v).toBe(2);
  });
});

describe('the last seq of a session', () => {
  const session = key(7);

  it('a session can only use growing seqs, which may have gaps', () => {
    const marked = [1, 5, 5, 3, 6].map((seq) => view('p', 1, { session, seq }));
    expect(outcomes(marked)).toEqual([APPLIED, APPLIED, DUPLICATE, DUPLICATE, APPLIED]);
  });

  it('an operation without effect uses up its seq', () => {
    expect(outcomes([unlike('p', ANN, { session, seq: 2 }), like('p', ANN, { session, seq: 2 })])).toEqual([
      0,
      DUPLICATE,
    ]);
  });

  it('a repeated toggle is a duplicate and returns the current state', () => {
    const repeated = outcomes([like('p', ANN, { session, seq: 1 }), unlike('p', ANN, { session, seq: 1 })]);
    expect(repeated).toEqual([APPLIED | ON, DUPLICATE | ON]);
  });

  it('a last seq is kept in its generation and the next one, and then forgotten', () => {
    const marked = [view('p', 1, { session, seq: 1 })];
    expect(outcomes(marked, START_MS)).toEqual([APPLIED]);
    expect(outcomes(marked, START_MS + MARK_GENERATION_MS - 1)).toEqual([DUPLICATE]);
    expect(outcomes(marked, START_MS + MARK_GENERATION_MS)).toEqual([DUPLICATE]);
    expect(outcomes(marked, START_MS + 2 * MARK_GENERATION_MS)).toEqual([APPLIED]);
  });

  it(`a generation ends once it holds ${MARK_GENERATION_MAX} sessions`, () => {
    const marked = (from: number, count: number): Operation[] =>
      Array.from({ length: count }, (_, i) => view('p', 1, { session: key(from + i), seq: 1 }));
    outcomes(marked(0, MARK_GENERATION_MAX - 1));
    outcomes(marked(0, 1));
    const { number } = bucket.sessionMarks.generation;
    outcomes(marked(MARK_GENERATION_MAX, 1));
    expect(bucket.sessionMarks.generation).toMatchObject({ number, marks: MARK_GENERATION_MAX });
    outcomes([]);
    expect(bucket.sessionMarks.generation).toEqual({ number: number + 1, startedAtMs: START_MS, marks: 0 });
  });
});
