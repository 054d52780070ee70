import { expect, it } from '@jest/globals';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import type { PostMilestone } from '../../src/counters/milestones.js';
import type { ChangePage } from '../../src/store/change-store.js';
import { key, like, postIn, START_MS, view } from './operations.js';
import type { StoreUnderTest } from './store-under-test.js';

const POST = postIn(0);
const OTHER = postIn(0, 1);
const ANN = key(1);
const OPTIONS = { limit: 500, withMembers: false };
/** As a sink has it: beyond 32 bits, with a negative number for a session. */
const RECORD: PostMilestone = {
  ...{ post: POST, metric: VIEWS, n: 2 ** 53 - 1, actor: key(7), session: { hi: 0xffffffff, lo: 1 }, seq: 2 ** 40 },
  ...{ kind: 'add', value: 3, total: 2 ** 53 - 1, v: 12, region: 'local', epoch: 4, atMs: START_MS, recordedAtMs: 0 },
  missed: false,
};

/** Calls that the tests repeat. */
function callsOf(under: StoreUnderTest) {
  const collect = async (after: number): Promise<ChangePage> => {
    const [page] = await under.store.changeStore.changesSince([{ bucket: 0, after }], OPTIONS);
    return page!;
  };
  return {
    collect,
    /** Makes records final, lets them be entered, and collects. */
    collectFinal: async (after: number): Promise<ChangePage> => {
      await under.makeFinal();
      await collect(2 ** 52);
      return collect(after);
    },
    arm: async (n: number, metric = VIEWS, post = POST): Promise<void> => {
      expect(await under.store.milestones.arm(post, metric, n)).toMatchObject({ kind: 'armed' });
    },
    /** @returns the position of a copy that has everything so far */
    startRecording: async (): Promise<number> => (await collect((await collect(0)).upTo)).upTo,
    readAll: async (): Promise<readonly PostMilestone[]> =>
      (await under.store.changeStore.readAll(new Set([0]), '', 500)).milestones,
  };
}

/** Tests of the milestones that a store records and reads for copies. */
export function changedMilestonesTests(under: StoreUnderTest): void {
  recordingTests(under);
  fullSyncTests(under);
  restoreTests(under);
}

function recordingTests(under: StoreUnderTest): void {
  const { collect, collectFinal, arm, startRecording, readAll } = callsOf(under);

  it('a milestone is collected once its record is final, without another change of its post', async () => {
    const at = await startRecording();
    await arm(2);
    await under.apply([{ ...view(POST, 3, { session: key(9), seq: 7 }), actor: ANN }]);
    const before = await collect(at);
    expect(before).toMatchObject({ posts: [{ post: POST }], isComplete: true });
    if (under.losesCommits) expect([...before.milestones, ...(await readAll())]).toEqual([]);
    const page = under.losesCommits ? await collectFinal(before.upTo) : before;
    const winner = { n: 2, actor: ANN, session: key(9), seq: 7, kind: 'add', value: 3, total: 3, v: 1, missed: false };
    const where = { post: POST, metric: VIEWS, region: 'local', epoch: 1, atMs: START_MS };
    expect(page.milestones).toMatchObject([{ ...winner, ...where }]);
    expect(page).toMatchObject({ isComplete: true, sums: before.sums, changedAtMs: before.changedAtMs });
    expect(await collect(page.upTo)).toMatchObject({ posts: [], milestones: [], upTo: page.upTo, isComplete: true });
    // A copy that is behind gets it again.
    expect((await collect(at)).milestones).toHaveLength(1);
  });

  it('a record that is not final yet moves no seq', async () => {
    await arm(1);
    const at = await startRecording();
    await under.apply([view(POST)]);
    const { upTo } = await collect(at);
    for (let i = 0; i < 3; i++) expect(await collect(upTo)).toMatchObject({ upTo, isComplete: true });
  });

  it('each milestone of each metric is collected once', async () => {
    const at = await startRecording();
    for (const n of [2 ** 32 + 1, 2 ** 53 - 1, 5]) await arm(n);
    await arm(1, LIKES);
    await arm(3, VIEWS, OTHER);
    await under.apply([view(POST, 2 ** 53 - 1), like(POST, ANN), view(OTHER, 2), view(OTHER)]);
    const { milestones } = await collectFinal(at);
    const found = milestones.map(({ post, metric, n }) => `${post} ${metric} ${n}`).sort();
    const ofPost = [5, 2 ** 32 + 1, 2 ** 53 - 1].map((n) => `${POST} ${VIEWS} ${n}`);
    expect(found).toEqual([...ofPost, `${POST} ${LIKES} 1`, `${OTHER} ${VIEWS} 3`].sort());
  });

  it('a bucket without milestones has none in its pages', async () => {
    const at = await startRecording();
    await under.apply([view(POST), like(POST, ANN)]);
    expect([...(await collect(at)).milestones, ...(await readAll())]).toEqual([]);
  });
}

function fullSyncTests(under: StoreUnderTest): void {
  const { collect, collectFinal, arm, startRecording, readAll } = callsOf(under);

  it('milestones from before the recording are read with all posts, or follow when they are final', async () => {
    await arm(1);
    await arm(2, VIEWS, OTHER);
    await under.apply([view(POST), view(OTHER)]);
    const at = await startRecording();
    if (under.losesCommits) expect(await readAll()).toEqual([]);
    const { milestones } = await collectFinal(at);
    if (under.losesCommits) expect(milestones).toMatchObject([{ post: POST, n: 1 }]);
    expect(await readAll()).toMatchObject([{ post: POST, metric: VIEWS, n: 1, total: 1 }]);
  });

  it('milestones that became final before the recording are read with all posts', async () => {
    await arm(1);
    await under.apply([view(POST)]);
    await startRecording();
    await under.makeFinal();
    await collect(0);
    await under.store.changeStore.stopRecording();
    const at = await startRecording();
    expect(await readAll()).toMatchObject([{ post: POST, n: 1 }]);
    expect((await collect(at)).milestones).toEqual([]);
  });
}

function restoreTests(under: StoreUnderTest): void {
  const { arm, startRecording, readAll } = callsOf(under);

  it('restored records are final, exact and written once', async () => {
    const { changeStore, milestones } = under.store;
    const nobody = { ...RECORD, metric: LIKES, n: 5, actor: null, session: null, seq: 0, missed: true };
    await changeStore.restoreMilestones([RECORD, nobody]);
    await changeStore.restoreMilestones([
      { ...RECORD, seq: 1 },
      { ...nobody, n: 6 },
    ]);
    const { reached } = await milestones.read(POST, VIEWS);
    expect(reached.map((one) => ({ post: POST, metric: VIEWS, ...one }))).toEqual([{ ...RECORD, final: true }]);
    const ofLikes = (await milestones.read(POST, LIKES)).reached;
    expect(ofLikes).toMatchObject([
      { n: 5, missed: true, actor: null, session: null },
      { n: 6, final: true },
    ]);
    expect(await milestones.arm(POST, LIKES, 5)).toEqual({ kind: 'reached' });
    await under.apply([view(POST)]);
    await startRecording();
    expect((await readAll()).filter(({ metric }) => metric === VIEWS)).toEqual([RECORD]);
  });

  it('a restored record disarms its milestone', async () => {
    await arm(5, LIKES);
    await arm(6, LIKES);
    await under.store.changeStore.restoreMilestones([{ ...RECORD, metric: LIKES, n: 5 }]);
    expect(await under.store.milestones.read(POST, LIKES)).toMatchObject({ armed: [6], reached: [{ n: 5 }] });
  });
}
