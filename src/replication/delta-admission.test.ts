import { beforeEach, describe, expect, it } from '@jest/globals';
import { LIKES } from '../counters/metrics.js';
import { MERGED_RECORDS_MAX, type ReachedMilestone } from '../counters/milestones.js';
import type { Delta, HomeDelta, PostDelta } from '../counters/replication/delta.js';
import { firstStampAt } from '../counters/replication/hybrid-clock.js';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { DeltaAdmission, AHEAD_MAX_MS } from './delta-admission.js';

const US = { region: 'us', epoch: 1, nonce: 1 };
const ANN = { hi: 1, lo: 2 };

let clock: SimulatedClock;
let log: string[];
let admission: DeltaAdmission;

beforeEach(() => {
  clock = new SimulatedClock();
  log = [];
  admission = new DeltaAdmission(new Set(['us', 'ap']), clock, (message) => log.push(message));
});

function stampIn(ms: number): number {
  return firstStampAt(clock.wallMs() + ms);
}

function post(about: Partial<PostDelta> = {}): PostDelta {
  return { post: 'story', updatedAtMs: clock.wallMs(), entries: [], registers: [], members: [], ...about };
}

function delta(about: Partial<Delta> = {}): Delta {
  const stamps = {
    startedAtStamp: stampIn(-9),
    after: stampIn(-8),
    upTo: stampIn(-1),
    ackedUpTo: stampIn(-8),
    stableStamp: stampIn(-8),
  };
  return {
    kind: 'changes',
    bucket: 0,
    source: US,
    predecessors: [],
    ...stamps,
    posts: [post()],
    fullSyncReceiver: null,
    ...about,
  };
}

function entry(region: string, p: number, n: number): PostDelta {
  return post({ entries: [{ metric: LIKES, incarnation: { region, epoch: 1, nonce: 1 }, p, n }] });
}

function liked(stamp: number): PostDelta {
  return post({ registers: [{ metric: LIKES, actor: ANN, stamp, on: true }] });
}

function confirmationAt(stamp: number): PostDelta {
  const home = { region: 'eu', number: 1, mode: 'strict' } as const;
  return post({ homes: [{ metric: LIKES, home, confirmations: [{ ...US, home, stamp }], reached: [] }] });
}

function recordAt(atMs: number): ReachedMilestone {
  const operation = { actor: ANN, session: null, seq: 0, kind: 'set', value: 1, total: 9, v: 9 } as const;
  return { n: 9, ...operation, region: 'us', epoch: 1, atMs, recordedAtMs: atMs, missed: false };
}

describe('admission of deltas', () => {
  it('a region that sends as many records as a metric may take over is warned about, and its delta is admitted', () => {
    const about = { actor: null, session: null, seq: 0, kind: 'add', value: 1, v: 1, missed: false } as const;
    const records = Array.from({ length: MERGED_RECORDS_MAX }, (_, i): ReachedMilestone => {
      return { n: i + 1, total: i + 1, ...about, region: 'us', epoch: 1, atMs: 0, recordedAtMs: 0 };
    });
    const withRecords = (count: number): Delta => {
      const home = { region: 'us', number: 1, mode: 'strict' } as const;
      return delta({
        posts: [post({ homes: [{ metric: LIKES, home, confirmations: [], reached: records.slice(0, count) }] })],
      });
    };
    const admitted = [MERGED_RECORDS_MAX - 1, MERGED_RECORDS_MAX].flatMap((count) => {
      const before = log.length;
      const [one] = admission.admit('us', [withRecords(count)]);
      return [one!.rejection, log.length - before];
    });
    expect(admitted).toEqual([undefined, 0, undefined, 1]);
    expect(log[0]).toMatch(/^region us has 128 records of milestones of one metric of post .*; regions keep 128; /);
  });

  it('correct deltas are admitted unchanged', () => {
    const deltas = [
      delta(),
      delta({
        bucket: 1,
        posts: [entry('us', 3, 3), liked(stampIn(AHEAD_MAX_MS - 1)), confirmationAt(stampIn(AHEAD_MAX_MS - 1))],
      }),
    ];
    const admitted = admission.admit('us', deltas);
    expect(admitted.map(({ delta: one }) => one)).toEqual(deltas);
    expect(admitted[0]!.delta).toBe(deltas[0]);
    expect(admitted.every(({ rejection }) => rejection === undefined)).toBe(true);
    expect(log).toEqual([]);
  });

  it.each(['startedAtStamp', 'after', 'upTo', 'ackedUpTo', 'stableStamp', 'a register', 'a confirmation'])(
    'a delta is replaced by an empty one if %s is over an hour ahead, and other buckets are admitted',
    (which) => {
      const late = stampIn(AHEAD_MAX_MS + 60_000);
      const makers = new Map([
        ['a register', liked],
        ['a confirmation', confirmationAt],
      ]);
      const make = makers.get(which);
      const ahead = make === undefined ? delta({ [which]: late }) : delta({ posts: [make(late)] });
      const [first, second] = admission.admit('us', [ahead, delta({ bucket: 1 })]);
      expect(first).toMatchObject({
        rejection: 'ahead',
        delta: {
          kind: 'changes',
          source: US,
          bucket: 0,
          after: 0,
          upTo: 0,
          ackedUpTo: 0,
          stableStamp: 0,
          posts: [],
        },
      });
      expect(first!.delta.startedAtStamp).toBeLessThanOrEqual(stampIn(0));
      expect(second).toEqual({ delta: delta({ bucket: 1 }), rejection: undefined });
      expect(log).toEqual([
        "rejecting deltas of some buckets of region us: it is 61 minutes ahead of this region's clock; set both clocks right (NTP)",
      ]);
    },
  );

  it('rejections are logged once in ten minutes, and each is counted', () => {
    const ahead = delta({ upTo: stampIn(2 * AHEAD_MAX_MS) });
    for (let i = 0; i < 20; i++) {
      admission.admit('us', [ahead]);
      clock.spend(60_000);
    }
    expect(log).toHaveLength(2);
    expect(admission.rejectedByRegion.get('us')).toBe(20);
  });

  it('an entry that removed more than it added is rejected', () => {
    const [first, second] = admission.admit('us', [delta({ posts: [entry('ap', 3, 4)] }), delta({ bucket: 1 })]);
    expect([first!.rejection, second!.rejection]).toEqual(['entries', undefined]);
    expect(log[0]).toContain('post story has an entry of region ap that removed 4 and added only 3');
  });

  it('entries of 16 regions outside PEERS are admitted, and of no more', () => {
    const rejections = Array.from({ length: 40 }, (_, i) => {
      return admission.admit('us', [delta({ posts: [entry(`removed-${i}`, 1, 0)] })])[0]!.rejection;
    });
    expect(rejections).toEqual([...Array<undefined>(16).fill(undefined), ...Array<string>(24).fill('entries')]);
    const repeated = admission.admit('us', [delta({ posts: [entry('removed-3', 1, 0), entry('ap', 1, 0)] })]);
    expect(repeated[0]!.rejection).toBeUndefined();
  });

  it('times of last changes are capped at the current time', () => {
    const posts = [post({ updatedAtMs: clock.wallMs() + 3 * AHEAD_MAX_MS }), post({ updatedAtMs: 7 })];
    const [admitted] = admission.admit('us', [delta({ posts })]);
    expect(admitted!.rejection).toBeUndefined();
    expect(admitted!.delta.posts.map(({ updatedAtMs }) => updatedAtMs)).toEqual([clock.wallMs(), 7]);
  });

  it('times of records of milestones are capped at the current time, and the other records stay as they are', () => {
    const late = recordAt(clock.wallMs() + 3 * AHEAD_MAX_MS);
    const homes = [{ metric: LIKES, home: null, confirmations: [], reached: [late, recordAt(7)] }];
    const [admitted] = admission.admit('us', [delta({ posts: [post({ homes }), post()] })]);
    expect(admitted!.rejection).toBeUndefined();
    const reached = [{ ...late, atMs: clock.wallMs() }, recordAt(7)];
    expect(admitted!.delta.posts).toEqual([post({ homes: [{ ...homes[0]!, reached }] }), post()]);
  });

  it('a region with a log merges all of a delta but a home in mode strict, and logs which post it is', () => {
    const reached: never[] = [];
    const homes = (['strict', 'order', 'released'] as const).map((mode, metric) => {
      const home = { region: 'us', number: 1, mode };
      return { metric, home, confirmations: [{ ...US, home, stamp: 1 }], reached };
    });
    const given = delta({ posts: [post({ homes }), liked(stampIn(-2))] });
    expect(admission.admit('us', [given])[0]!.delta.posts).toEqual(given.posts);
    const withLog = new DeltaAdmission(new Set(['us', 'ap']), clock, (message) => log.push(message), true);
    const [admitted] = withLog.admit('us', [given, given]);
    expect(admitted!.rejection).toBeUndefined();
    const merged = [{ ...homes[0], home: null }, homes[1], homes[2]];
    expect(admitted!.delta.posts).toEqual([post({ homes: merged as HomeDelta[] }), given.posts[1]]);
    expect(log).toHaveLength(1);
    expect(log[0]).toContain('region us wants to decide about milestones of post story in mode strict');
  });
});
