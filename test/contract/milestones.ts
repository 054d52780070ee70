import { expect, it } from '@jest/globals';
import { ARMED_MAX, ARMED_PER_BUCKET_MAX, MILESTONES_MAX } from '../../src/counters/milestones.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import { APPLIED, DUPLICATE, ON, type Operation, REACHED } from '../../src/counters/operation.js';
import type { ReadMilestone } from '../../src/store/milestone-store.js';
import { until } from '../support/until.js';
import { adjust, key, like, postIn, SAVES, START_MS, unlike, view } from './operations.js';
import type { StoreUnderTest } from './store-under-test.js';

const POST = postIn(0);
const OTHER = postIn(0, 1);
const ANN = key(1);
const BOB = key(2);
const CAT = key(3);
const SESSION = key(9);

/** Calls that the tests repeat. */
function callsOf(under: StoreUnderTest) {
  return {
    arm: async (n: number, metric = VIEWS, post = POST): Promise<void> => {
      expect(await under.store.milestones.arm(post, metric, n)).toMatchObject({ kind: 'armed' });
    },
    reached: async (metric = VIEWS, post = POST): Promise<readonly ReadMilestone[]> =>
      (await under.store.milestones.read(post, metric)).reached,
    outcomes: async (operations: readonly Operation[]): Promise<number[]> => [
      ...(await under.apply(operations)).outcomes,
    ],
  };
}

function namingTests(under: StoreUnderTest): void {
  const { arm, reached, outcomes } = callsOf(under);

  it('the operation that reaches the number is named, and no other', async () => {
    await arm(3);
    const named = { ...view(POST, 1, { session: SESSION, seq: 7 }), actor: BOB };
    expect(await outcomes([view(POST), view(POST)])).toEqual([APPLIED, APPLIED]);
    expect(await outcomes([named, view(POST)])).toEqual([APPLIED | REACHED, APPLIED]);
    const [record] = await reached();
    const winner = { n: 3, actor: BOB, session: SESSION, seq: 7, kind: 'add', value: 1, total: 3, v: 2 };
    expect(record).toMatchObject({ ...winner, region: 'local', epoch: 1, atMs: START_MS, missed: false });
    expect(await under.store.milestones.read(POST, VIEWS)).toMatchObject({ armed: [], reached: [{ n: 3 }] });
  });

  it('an addition that goes beyond the number reaches it', async () => {
    await arm(10);
    expect(await outcomes([view(POST, 7), view(POST, 7)])).toEqual([APPLIED, APPLIED | REACHED]);
    expect(await reached()).toMatchObject([{ n: 10, value: 7, total: 14, actor: null, session: null }]);
  });

  it('one addition reaches three milestones', async () => {
    for (const n of [300, 100, 200, 1_001]) await arm(n);
    expect(await outcomes([view(POST, 1_000)])).toEqual([APPLIED | REACHED]);
    expect(await reached()).toMatchObject([{ n: 100 }, { n: 200 }, { n: 300 }]);
    expect((await under.store.milestones.read(POST, VIEWS)).armed).toEqual([1_001]);
  });

  it('a toggle that goes back and forth over the number reaches it once', async () => {
    await arm(2, LIKES);
    const there = [like(POST, ANN), like(POST, BOB)];
    expect(await outcomes(there)).toEqual([APPLIED | ON, APPLIED | ON | REACHED]);
    expect(await outcomes([unlike(POST, BOB), like(POST, CAT)])).toEqual([APPLIED, APPLIED | ON]);
    expect(await reached(LIKES)).toMatchObject([{ n: 2, actor: BOB, kind: 'set', total: 2, v: 1 }]);
  });

  it('a like that was on already, and an unlike, reach nothing', async () => {
    await under.apply([like(POST, ANN), like(POST, BOB)]);
    await arm(3, LIKES);
    expect(await outcomes([like(POST, ANN), unlike(POST, BOB), like(POST, BOB)])).toEqual([ON, APPLIED, APPLIED | ON]);
    expect(await reached(LIKES)).toEqual([]);
    expect(await outcomes([adjust(POST, 1)])).toEqual([APPLIED | REACHED]);
    expect(await reached(LIKES)).toMatchObject([{ n: 3, actor: null, kind: 'adjust' }]);
  });

  it('posts and metrics have milestones of their own', async () => {
    await arm(1, SAVES);
    await arm(1, VIEWS, OTHER);
    expect(await outcomes([view(POST), like(POST, ANN)])).toEqual([APPLIED, APPLIED | ON]);
    expect(await outcomes([view(OTHER)])).toEqual([APPLIED | REACHED]);
    expect([await reached(VIEWS), await reached(SAVES), await reached(VIEWS, OTHER)]).toMatchObject([[], [], [{}]]);
  });
}

function repetitionTests(under: StoreUnderTest): void {
  const { arm, reached, outcomes } = callsOf(under);

  it('a retry of the operation that reached it says so, and another duplicate does not', async () => {
    await arm(2);
    const numbered = (seq: number) => view(POST, 1, { session: SESSION, seq });
    expect(await outcomes([numbered(1), numbered(2), numbered(3)])).toEqual([APPLIED, APPLIED | REACHED, APPLIED]);
    expect(await outcomes([numbered(1), numbered(2), numbered(3)])).toEqual([
      DUPLICATE,
      DUPLICATE | REACHED,
      DUPLICATE,
    ]);
    const retried = { ...like(POST, ANN), session: SESSION, seq: 2 };
    expect(await outcomes([retried])).toEqual([DUPLICATE]);
  });

  it('a batch that is sent again has the same outcomes and reaches nothing again', async () => {
    await arm(1);
    const batch = { bucket: 0, producerId: 'prod-two', batchNumber: 1, atMs: START_MS, operations: [view(POST)] };
    const results = [await under.store.commit(batch), await under.store.commit(batch)];
    for (const result of results) expect(result).toMatchObject({ outcomes: new Uint8Array([APPLIED | REACHED]) });
    expect(await reached()).toHaveLength(1);
  });
}

function armingTests(under: StoreUnderTest): void {
  const { arm, reached, outcomes } = callsOf(under);

  it('a post without milestones has none', async () => {
    expect(await under.store.milestones.read(POST, VIEWS)).toEqual({
      armed: [],
      reached: [],
      home: null,
      waitingFor: [],
    });
    expect(await under.store.milestones.disarm(POST, VIEWS, 3)).toBe(false);
  });

  it('a milestone at or below the total, and one that was reached, cannot be armed', async () => {
    const { milestones } = under.store;
    await under.apply([view(POST, 5)]);
    expect(await milestones.arm(POST, VIEWS, 5)).toEqual({ kind: 'passed', total: 5 });
    await arm(6);
    expect(await milestones.arm(POST, VIEWS, 6)).toEqual({ kind: 'armed', isNew: false, armed: [6] });
    await under.apply([view(POST)]);
    expect(await milestones.arm(POST, VIEWS, 6)).toEqual({ kind: 'reached' });
  });

  it('a disarmed milestone is not reached, and can be armed again', async () => {
    await arm(2);
    await arm(3);
    expect(await under.store.milestones.disarm(POST, VIEWS, 2)).toBe(true);
    expect(await under.store.milestones.disarm(POST, VIEWS, 2)).toBe(false);
    expect(await outcomes([view(POST, 2), view(POST)])).toEqual([APPLIED, APPLIED | REACHED]);
    await arm(4);
    expect(await outcomes([view(POST)])).toEqual([APPLIED | REACHED]);
    expect(await reached()).toMatchObject([{ n: 3 }, { n: 4 }]);
  });

  it('a metric has a limited number of milestones', async () => {
    const { milestones } = under.store;
    for (let n = 1; n <= ARMED_MAX; n++) await arm(n);
    expect(await milestones.arm(POST, VIEWS, 100)).toEqual({ kind: 'full', of: 'armed', max: ARMED_MAX });
    for (let at = 1; at < MILESTONES_MAX; at += ARMED_MAX) {
      for (let n = at; n < at + ARMED_MAX; n++) await arm(n);
      await under.apply([view(POST, ARMED_MAX)]);
    }
    expect(await reached()).toHaveLength(MILESTONES_MAX);
    const full = { kind: 'full', of: 'milestones', max: MILESTONES_MAX };
    expect(await milestones.arm(POST, VIEWS, 1_000)).toEqual(full);
  });

  it('a bucket has a limited number of armed milestones', async () => {
    const { milestones } = under.store;
    const calls = Array.from({ length: ARMED_PER_BUCKET_MAX }, (_, i) =>
      milestones.arm(postIn(0, Math.floor(i / ARMED_MAX)), VIEWS, 1 + (i % ARMED_MAX)),
    );
    expect((await Promise.all(calls)).every(({ kind }) => kind === 'armed')).toBe(true);
    const full = { kind: 'full', of: 'bucket', max: ARMED_PER_BUCKET_MAX };
    expect(await milestones.arm(POST, SAVES, 1)).toEqual(full);
    expect(await milestones.arm(postIn(1), SAVES, 1)).toMatchObject({ kind: 'armed' });
    await under.apply([view(POST)]);
    expect(await milestones.arm(POST, SAVES, 1)).toMatchObject({ kind: 'armed' });
    expect(await milestones.arm(POST, LIKES, 1)).toEqual(full);
    expect(await milestones.disarm(POST, SAVES, 1)).toBe(true);
    expect(await milestones.arm(POST, LIKES, 1)).toMatchObject({ kind: 'armed' });
  });
}

function surroundingsTests(under: StoreUnderTest): void {
  const { arm } = callsOf(under);

  it('a batch of a log whose sums may reach one is applied only with single events', async () => {
    await arm(10);
    const batch = { bucket: 0, producerId: 'log', batchNumber: 5, afterInLog: 0, atMs: START_MS };
    const sums = { ...batch, hasSums: true, operations: [view(POST, 4), view(POST, 6)] };
    expect(await under.store.commit(sums)).toEqual({ kind: 'unsum', last: 0 });
    expect((await under.view(POST)).counts.v).toBe(0);
    const below = { ...sums, operations: [view(POST, 4), view(OTHER, 600)] };
    expect(await under.store.commit(below)).toMatchObject({ kind: 'applied' });
    const single = { ...batch, afterInLog: 5, batchNumber: 9, operations: [view(POST, 5), view(POST)] };
    const result = await under.store.commit(single);
    expect(result).toMatchObject({ outcomes: new Uint8Array([APPLIED, APPLIED | REACHED]) });
  });

  it('gateways that watch the post get the news', async () => {
    const news: unknown[] = [];
    under.store.milestones.reached.subscribe((more) => news.push(...more));
    under.store.watch(POST);
    await under.view(POST);
    await arm(1);
    await arm(1, VIEWS, OTHER);
    await under.apply([view(POST), view(OTHER)]);
    await until(() => news.length > 0, 'news of the milestone');
    expect(news).toEqual([{ post: POST, metric: VIEWS, n: 1, v: 1, atMs: START_MS }]);
  });

  it('milestones outlast the process', async () => {
    await arm(2);
    await arm(3);
    await under.apply([view(POST, 2)]);
    const store = await under.reopen();
    const views = await store.milestones.read(POST, VIEWS);
    expect(views).toMatchObject({ armed: [3], reached: [{ n: 2, total: 2 }] });
    expect(await store.milestones.arm(POST, VIEWS, 2)).toEqual({ kind: 'reached' });
  });
}

export function milestoneTests(under: StoreUnderTest): void {
  namingTests(under);
  repetitionTests(under);
  armingTests(under);
  surroundingsTests(under);
}
