import { describe, expect, it } from '@jest/globals';
import type { Key64 } from '../../src/counters/ids.js';
import {
  APPLIED,
  DUPLICATE,
  ON,
  type Operation,
  readSwitched,
  SWITCHED,
  SWITCHED_FROM_BIT,
} from '../../src/counters/operation.js';
import { key, postIn, RULED_METRICS, type SessionSeq, START_MS } from './operations.js';
import type { StoreUnderTest } from './store-under-test.js';

/** Indices of RULED_METRICS. */
const [VIEWS, READERS, YES, NO, MAYBE, READS] = [1, 2, 3, 4, 5, 6] as const;
/** Index of YES among the other options of MAYBE. */
const YES_OF_MAYBE = 0;
const START_S = START_MS / 1_000;
const WINDOW_S = 30 * 60;
const POST = postIn(0);
const ANN = key(1);
const BOB = key(2);

function visit(
  actor: Key64,
  atS: number,
  mark: Partial<SessionSeq> = {},
  metric: number = VIEWS,
  post = POST,
): Operation {
  return { post, metric, kind: 'visit', value: 1, actor, session: null, seq: 0, ...mark, atS };
}

function choose(metric: number, actor: Key64, on = true, mark: Partial<SessionSeq> = {}): Operation {
  return { post: POST, metric, kind: 'set', value: on ? 1 : 0, actor, session: null, seq: 0, ...mark };
}

/** Applies operations as the next batch. @returns their outcomes */
function outcomesIn(under: StoreUnderTest) {
  return async (operations: readonly Operation[], s = 0): Promise<number[]> => [
    ...(await under.apply(operations, 0, (START_S + s) * 1_000)).outcomes,
  ];
}

function windowTests(under: StoreUnderTest): void {
  const outcomes = outcomesIn(under);

  it('a visit counts once in a window that begins with the visit that counted', async () => {
    const visits = [0, 1, WINDOW_S - 1].map((s) => visit(ANN, START_S + s));
    expect(await outcomes(visits)).toEqual([APPLIED, 0, 0]);
    expect(await outcomes([visit(ANN, START_S + WINDOW_S), visit(ANN, START_S + WINDOW_S)], WINDOW_S)).toEqual([
      APPLIED,
      0,
    ]);
    expect((await under.view(POST)).counts.totals[VIEWS]).toBe(2);
  });

  it('actors, posts and metrics have windows of their own', async () => {
    const others = [
      visit(BOB, START_S),
      visit(ANN, START_S, {}, READS),
      visit(ANN, START_S, {}, VIEWS, postIn(0, 1)),
      visit({ hi: ANN.lo, lo: ANN.hi }, START_S),
    ];
    expect(await outcomes([visit(ANN, START_S), ...others, ...others])).toEqual([
      APPLIED,
      APPLIED,
      APPLIED,
      APPLIED,
      APPLIED,
      0,
      0,
      0,
      0,
    ]);
  });

  it('a visit of a gateway whose clock is behind does not count, and leaves the window as it is', async () => {
    expect(
      await outcomes([visit(ANN, START_S), visit(ANN, START_S - 600), visit(ANN, START_S + WINDOW_S - 1)]),
    ).toEqual([APPLIED, 0, 0]);
  });

  it('a visit with a session is a duplicate when it is repeated, also after its window', async () => {
    const session = key(77);
    expect(await outcomes([visit(ANN, START_S, { session, seq: 1 })])).toEqual([APPLIED]);
    const later = [
      visit(ANN, START_S + WINDOW_S, { session, seq: 1 }),
      visit(ANN, START_S + WINDOW_S, { session, seq: 2 }),
      visit(ANN, START_S + WINDOW_S, { session, seq: 3 }),
    ];
    expect(await outcomes(later, WINDOW_S)).toEqual([DUPLICATE, APPLIED, 0]);
  });
}

function markTests(under: StoreUnderTest): void {
  const outcomes = outcomesIn(under);

  it('marks live as long as the longest window, whatever comes between', async () => {
    expect(await outcomes([visit(ANN, START_S, {}, READS)])).toEqual([APPLIED]);
    for (let s = 600; s < 2 * 3_600; s += 600) {
      expect(await outcomes([visit(BOB, START_S + s), visit(ANN, START_S + s, {}, READS)], s)).toEqual([
        s % WINDOW_S === WINDOW_S - 1_200 ? APPLIED : 0,
        0,
      ]);
    }
    expect(await outcomes([visit(ANN, START_S + 7_200, {}, READS)], 7_200)).toEqual([APPLIED]);
  });

  it('windows stay in a reopened store', async () => {
    expect(await outcomes([visit(ANN, START_S)])).toEqual([APPLIED]);
    const store = await under.reopen();
    const producerId = 'prod-two';
    const again = { bucket: 0, producerId, batchNumber: 1, atMs: START_MS, operations: [visit(ANN, START_S + 60)] };
    expect(await store.commit(again)).toMatchObject({ kind: 'applied', outcomes: new Uint8Array([0]) });
  });

  it('many visits of a batch, new and known, count as they would alone', async () => {
    const actors = Array.from({ length: 400 }, (_, i) => key(1_000 + (i % 300)));
    expect(await outcomes(actors.map((actor) => visit(actor, START_S)))).toEqual(
      actors.map((_, i) => (i < 300 ? APPLIED : 0)),
    );
    expect(await outcomes(actors.map((actor) => visit(actor, START_S + 1)))).toEqual(actors.map(() => 0));
    expect((await under.view(POST)).counts.totals[VIEWS]).toBe(300);
  });
}

function choiceTests(under: StoreUnderTest): void {
  const outcomes = outcomesIn(under);
  const others = (outcome: number, metric: number): readonly number[] =>
    readSwitched(outcome, RULED_METRICS.otherOptions[metric]!);

  it('an option that is put on puts the other one off in the same commit', async () => {
    const [first, second, repeated] = await outcomes([choose(YES, ANN), choose(NO, ANN), choose(NO, ANN)]);
    expect([first, repeated]).toEqual([APPLIED | ON, ON]);
    expect(second! & (APPLIED | ON | SWITCHED)).toBe(APPLIED | ON | SWITCHED);
    expect(others(second!, NO)).toEqual([YES]);
    const { counts, on } = await under.view(POST, ANN);
    expect([counts.totals[YES], counts.totals[NO], on]).toEqual([0, 1, 1 << NO]);
  });

  it('the counts of a choice never show two options of an actor', async () => {
    await under.apply([choose(YES, ANN)]);
    const { counts, changed } = await under.apply([choose(MAYBE, ANN)]);
    expect(counts.get(POST)!.totals.slice(YES, MAYBE + 1)).toEqual([0, 0, 1]);
    expect(changed.map(({ v }) => v)).toEqual([2]);
  });

  it('choices of other actors, and other metrics, stay', async () => {
    const likes = { ...choose(YES, ANN), metric: 0 };
    const readers = { ...choose(YES, ANN), metric: READERS };
    await under.apply([likes, readers, choose(YES, BOB), choose(YES, ANN), choose(NO, ANN)]);
    const { counts, on } = await under.view(POST, ANN);
    expect(counts.totals).toEqual([1, 0, 1, 1, 1, 0, 0]);
    expect(on).toBe(1 | (1 << READERS) | (1 << NO));
  });

  it('an option that is taken back leaves none; one that was not on changes nothing', async () => {
    expect(await outcomes([choose(YES, ANN), choose(NO, ANN, false), choose(YES, ANN, false)])).toEqual([
      APPLIED | ON,
      0,
      APPLIED,
    ]);
    expect((await under.view(POST, ANN)).on).toBe(0);
  });

  it('a repeated choice puts nothing off that was chosen since', async () => {
    const mark = { session: key(5), seq: 1 };
    const [, switched, repeated] = await outcomes([
      choose(YES, ANN, true, mark),
      choose(NO, ANN),
      choose(YES, ANN, true, mark),
    ]);
    expect([others(switched!, NO), repeated]).toEqual([[YES], DUPLICATE]);
    expect((await under.view(POST, ANN)).on).toBe(1 << NO);
  });

  it('a batch sent again has the same outcomes', async () => {
    const batch = { bucket: 0, producerId: 'prod-two', atMs: START_MS };
    const first = { ...batch, batchNumber: 1, operations: [choose(YES, ANN), choose(MAYBE, ANN)] };
    const [result, again] = [await under.store.commit(first), await under.store.commit(first)];
    expect([result, again]).toEqual([
      expect.objectContaining({
        outcomes: new Uint8Array([APPLIED | ON, APPLIED | ON | SWITCHED | (YES_OF_MAYBE << SWITCHED_FROM_BIT)]),
      }),
      expect.objectContaining({
        outcomes: new Uint8Array([APPLIED | ON, APPLIED | ON | SWITCHED | (YES_OF_MAYBE << SWITCHED_FROM_BIT)]),
      }),
    ]);
  });
}

export function ruleTests(under: StoreUnderTest): void {
  describe('windows', () => windowTests(under));
  describe('marks of visits', () => markTests(under));
  describe('choices', () => choiceTests(under));
}
