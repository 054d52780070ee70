import { describe, expect, it } from '@jest/globals';
import { countDoubled, Ledger, countLost, findMistakes, type LedgerEntry, sumExpected } from './ledger.js';

function operation(event: LedgerEntry['event'], post: number, like = post): LedgerEntry {
  return { seq: 1, event, post, like, dueMs: 0, isSent: true, wasSent: true };
}

const exactly = (count: number): { min: number; max: number } => ({ min: count, max: count });

describe('a ledger', () => {
  it('adds views and keeps the last state of each like', () => {
    const ledger = new Ledger(2, 3);
    const acknowledged = [
      operation('view', 0),
      operation('view', 0),
      operation('like', 1, 1),
      operation('like', 1, 2),
      operation('like', 1, 2),
      operation('unlike', 1, 1),
      operation('unlike', 0, 0),
    ];
    for (const one of acknowledged) ledger.acknowledge(one);
    expect(ledger.computeExpected([])).toEqual({ likes: [exactly(0), exactly(1)], views: [exactly(2), exactly(0)] });
  });

  it('expects a range if acknowledgements are missing', () => {
    const ledger = new Ledger(1, 3);
    ledger.acknowledge(operation('like', 0, 0));
    const unanswered = [
      operation('view', 0),
      // On before, and off if this was counted.
      operation('unlike', 0, 0),
      operation('like', 0, 0),
      // Off before; on, off again, or never touched.
      operation('like', 0, 1),
      operation('unlike', 0, 1),
      // No change, counted or not.
      operation('unlike', 0, 2),
    ];
    expect(ledger.computeExpected(unanswered)).toEqual({ likes: [{ min: 0, max: 2 }], views: [{ min: 0, max: 1 }] });
  });

  it('sums the expected counts of several threads', () => {
    const expected = { likes: [exactly(1), { min: 2, max: 3 }], views: [exactly(4), exactly(0)] };
    expect(sumExpected([expected, expected])).toEqual({
      likes: [exactly(2), { min: 4, max: 6 }],
      views: [exactly(8), exactly(0)],
    });
  });
});

describe('mistakes', () => {
  const expected = { likes: [exactly(5), exactly(0)], views: [{ min: 7, max: 9 }, exactly(10)] };
  const before = [
    { likes: 100, views: 100 },
    { likes: 0, views: 0 },
  ];
  const found = (after: { likes: number; views: number }[]): string[] =>
    findMistakes(['a', 'b'], expected, before, after).map(
      (mistake) => `${mistake.post} ${mistake.metric} lost ${countLost(mistake)} doubled ${countDoubled(mistake)}`,
    );

  it('are empty while every count changed by the acknowledged operations', () => {
    for (const views of [107, 108, 109]) {
      expect(
        found([
          { likes: 105, views },
          { likes: 0, views: 10 },
        ]),
      ).toEqual([]);
    }
  });

  it('name the post, the metric, and how many operations are lost or doubled', () => {
    expect(
      found([
        { likes: 104, views: 111 },
        { likes: -1, views: 12 },
      ]),
    ).toEqual([
      'a likes lost 1 doubled 0',
      'a views lost 0 doubled 2',
      'b likes lost 1 doubled 0',
      'b views lost 0 doubled 2',
    ]);
  });
});
