import { describe, expect, it } from '@jest/globals';
import { Metrics } from '../counters/metrics.js';
import { type BucketEntry, buildBatch } from './bucket-batch.js';
import type { LoggedEvent } from './log-entry.js';

const METRICS = Metrics.parse('likes:toggle,views:tally,shares:tally');
const OPERATIONS_MAX = 5;

function view(post: string, value = 1, seq = 0): LoggedEvent {
  const session = seq === 0 ? null : { hi: 1, lo: 2 };
  return { post, metric: 1, kind: 'add', value, actor: null, session, seq, notifiesActor: false };
}

function adjust(value: 1 | -1): LoggedEvent {
  return { ...view('a', value), metric: 0, kind: 'adjust' };
}

function entries(...lists: LoggedEvent[][]): BucketEntry[] {
  return lists.map((events, i) => ({ offset: 10 * (i + 1), events }));
}

interface DescribedBatch {
  readonly operations: string[];
  readonly upTo: number;
  readonly events: number;
  readonly hasSums: boolean;
}

function describeBatch(list: readonly BucketEntry[], sums = true): DescribedBatch {
  const { operations, ...rest } = buildBatch(list, METRICS, OPERATIONS_MAX, sums);
  return {
    ...rest,
    operations: operations.map(({ post, metric, value, seq }) => `${post}.${metric} ${value} #${seq}`),
  };
}

describe('batches of the log', () => {
  it('additions without a session are summed by post and metric', () => {
    const list = entries(
      [view('a'), view('b', 2)],
      [view('a', 5), { ...view('a', 3), metric: 2 }],
      [view('b'), view('a')],
    );
    expect(describeBatch(list)).toEqual({
      operations: ['a.1 7 #0', 'b.1 3 #0', 'a.2 3 #0'],
      upTo: 30,
      events: 6,
      hasSums: true,
    });
  });

  it('a batch has sums only if an operation adds up several events', () => {
    const single = entries([view('a'), view('b', 2), view('a', 1, 1)], [view('a', 1, 2), { ...view('a'), metric: 2 }]);
    expect(describeBatch(single).hasSums).toBe(false);
    expect(describeBatch([...single, ...entries([view('b')])])).toMatchObject({ hasSums: false, upTo: 20 });
    expect(describeBatch(entries([view('a'), view('a')])).hasSums).toBe(true);
  });

  it('without sums every event is an operation, in its order', () => {
    const list = entries([view('a'), view('b', 2)], [view('a', 5), view('a', 1, 1)], [view('a')]);
    expect(describeBatch(list, false)).toEqual({
      operations: ['a.1 1 #0', 'b.1 2 #0', 'a.1 5 #0', 'a.1 1 #1', 'a.1 1 #0'],
      upTo: 30,
      events: 5,
      hasSums: false,
    });
  });

  it('a batch without sums has fewer entries if the events are too many operations', () => {
    const list = entries(
      [1, 2, 3].map(() => view('a')),
      [view('a'), view('a')],
      [view('a')],
    );
    expect(describeBatch(list)).toMatchObject({ upTo: 30, events: 6, hasSums: true });
    expect(describeBatch(list, false)).toMatchObject({ upTo: 20, events: 5, hasSums: false });
    const large = entries(
      Array.from({ length: OPERATIONS_MAX + 1 }, () => view('a')),
      [view('a')],
    );
    expect(describeBatch(large, false)).toMatchObject({ upTo: 10, events: OPERATIONS_MAX + 1 });
  });

  it('operations with a session, and those of toggles, stay single and in their order', () => {
    const list = entries([view('a', 1, 1), view('a')], [adjust(1), view('a', 1, 1)]);
    expect(describeBatch(list)).toEqual({
      operations: ['a.1 1 #1', 'a.1 1 #0', 'a.0 1 #0', 'a.1 1 #1'],
      upTo: 20,
      events: 4,
      hasSums: false,
    });
  });

  it('a batch ends between two entries', () => {
    const list = entries(
      [view('a'), view('b')],
      [view('a', 1, 1)],
      [1, 2, 3].map((seq) => view('b', 1, seq)),
    );
    expect(describeBatch(list)).toMatchObject({ upTo: 20, events: 3 });
    expect(describeBatch(list.slice(2))).toMatchObject({ upTo: 30, events: 3 });
  });

  it('an entry that is larger than a batch is one all the same', () => {
    const large = Array.from({ length: OPERATIONS_MAX + 1 }, (_, i) => view('a', 1, i + 1));
    expect(describeBatch(entries(large, [view('a')]))).toMatchObject({ upTo: 10, events: OPERATIONS_MAX + 1 });
  });

  it('events that are summed stay as they were', () => {
    const first = view('a');
    buildBatch(entries([first, view('a')]), METRICS, OPERATIONS_MAX);
    expect(first.value).toBe(1);
  });
});
