import { beforeEach, describe, expect, it } from '@jest/globals';
import { LIKES } from '../counters/metrics.js';
import type { PostDelta, Delta } from '../counters/replication/delta.js';
import { firstStampAt } from '../counters/replication/hybrid-clock.js';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { Admission, AHEAD_MAX_MS } from './admission.js';

const US = { region: 'us', epoch: 1, nonce: 1 };
const ANN = { hi: 1, lo: 2 };

let clock: SimulatedClock;
let log: string[];
let admission: Admission;

beforeEach(() => {
  clock = new SimulatedClock();
  log = [];
  admission = new Admission(new Set(['us', 'ap']), clock, (message) => log.push(message));
});

function stampIn(ms: number): number {
  return firstStampAt(clock.wallMs() + ms);
}

function post(about: Partial<PostDelta> = {}): PostDelta {
  return { post: 'story', updatedAtMs: clock.wallMs(), entries: [], registers: [], members: [], ...about };
}

function shipment(about: Partial<Delta> = {}): Delta {
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

describe('what a region ships', () => {
  it('is taken as it is', () => {
    const shipped = [shipment(), shipment({ bucket: 1, posts: [entry('us', 3, 3), liked(stampIn(AHEAD_MAX_MS - 1))] })];
    const admitted = admission.admit('us', shipped);
    expect(admitted.map(({ shipment: one }) => one)).toEqual(shipped);
    expect(admitted[0]!.shipment).toBe(shipped[0]);
    expect(admitted.every(({ rejection }) => rejection === undefined)).toBe(true);
    expect(log).toEqual([]);
  });

  it.each(['startedAtStamp', 'after', 'upTo', 'ackedUpTo', 'stableStamp', 'a register'])(
    'of a bucket is only taken for a question if %s is over an hour ahead; the other buckets are taken',
    (which) => {
      const late = stampIn(AHEAD_MAX_MS + 60_000);
      const ahead = which === 'a register' ? shipment({ posts: [liked(late)] }) : shipment({ [which]: late });
      const [first, second] = admission.admit('us', [ahead, shipment({ bucket: 1 })]);
      expect(first).toMatchObject({
        rejection: 'ahead',
        shipment: {
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
      expect(first!.shipment.startedAtStamp).toBeLessThanOrEqual(stampIn(0));
      expect(second).toEqual({ shipment: shipment({ bucket: 1 }), rejection: undefined });
      expect(log).toEqual([
        "what region us ships of some buckets is not merged: it is 61 minutes ahead of this region's clock; set both clocks right (NTP)",
      ]);
    },
  );

  it('is logged once in ten minutes, and counted each time', () => {
    const ahead = shipment({ upTo: stampIn(2 * AHEAD_MAX_MS) });
    for (let i = 0; i < 20; i++) {
      admission.admit('us', [ahead]);
      clock.spend(60_000);
    }
    expect(log).toHaveLength(2);
    expect(admission.rejectedByRegion.get('us')).toBe(20);
  });

  it('is not taken if more was taken away than was added', () => {
    const [first, second] = admission.admit('us', [shipment({ posts: [entry('ap', 3, 4)] }), shipment({ bucket: 1 })]);
    expect([first!.rejection, second!.rejection]).toEqual(['entries', undefined]);
    expect(log[0]).toContain('of post story region ap is said to have taken away 4 and added 3');
  });

  it('may count for 16 regions that PEERS does not name, and for no more', () => {
    const rejections = Array.from({ length: 40 }, (_, i) => {
      return admission.admit('us', [shipment({ posts: [entry(`gone-${i}`, 1, 0)] })])[0]!.rejection;
    });
    expect(rejections).toEqual([...Array<undefined>(16).fill(undefined), ...Array<string>(24).fill('entries')]);
    const known = admission.admit('us', [shipment({ posts: [entry('gone-3', 1, 0), entry('ap', 1, 0)] })]);
    expect(known[0]!.rejection).toBeUndefined();
  });

  it('has times of changes that are not in the future', () => {
    const posts = [post({ updatedAtMs: clock.wallMs() + 3 * AHEAD_MAX_MS }), post({ updatedAtMs: 7 })];
    const [admitted] = admission.admit('us', [shipment({ posts })]);
    expect(admitted!.rejection).toBeUndefined();
    expect(admitted!.shipment.posts.map(({ updatedAtMs }) => updatedAtMs)).toEqual([clock.wallMs(), 7]);
  });
});
