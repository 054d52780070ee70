import { beforeEach, expect, test } from '@jest/globals';
import { MemoryBucket } from '../../../test/contract/memory-bucket.js';
import { key, RULED_METRICS, START_MS } from '../../../test/contract/operations.js';
import { apply } from '../apply.js';
import type { ArmResult } from '../milestones.js';
import { ELSEWHERE, type Operation } from '../operation.js';
import { HOME_RULES, type HomeRules } from './home-rules.js';
import { newReplicationState, ReplicationState } from './replication-state.js';

const POST = 'p';
const [YES, NO] = ['yes', 'no'].map((name) => RULED_METRICS.byName(name)!.index) as [number, number];
const REGIONS = ['ap', 'eu', 'us'];

let buckets: Map<string, MemoryBucket>;
let batchNumber: number;

function open(own: Partial<HomeRules> = {}): void {
  const rules = { ...HOME_RULES, waitsForSync: false, hasConfirmationOf: () => true, ...own };
  buckets = new Map(
    REGIONS.map((region, i) => {
      const peers = REGIONS.filter((one) => one !== region);
      const state = new ReplicationState(region, newReplicationState(0));
      const bucket = new MemoryBucket({ region, epoch: 1, nonce: i }, state, { metrics: RULED_METRICS, peers, rules });
      bucket.setPost(POST, { v: 1, updatedAtMs: START_MS, metrics: [] });
      return [region, bucket];
    }),
  );
}

beforeEach(() => {
  batchNumber = 0;
  open();
});

function arm(region: string, metric: number, n: number, takesOver = false): ArmResult {
  const { homes, replication } = buckets.get(region)!;
  return homes.arm(POST, metric, n, { mode: 'strict', from: 0, takesOver }, 0, replication.now(0));
}

/** Each region gets the homes of all, and settles them. */
function exchange(): void {
  const sent = REGIONS.map((region) => buckets.get(region)!.homes.exchange.build(POST, false));
  for (const bucket of buckets.values()) {
    for (const homes of sent) for (const home of homes) bucket.homes.exchange.merge(POST, home);
    for (const metric of [YES, NO]) bucket.homes.settle(POST, metric, bucket.post(POST)!);
  }
}

function homeOf(region: string, metric: number): unknown {
  return buckets.get(region)!.homes.exchange.get(POST, metric).home;
}

/** @returns the region that does the operation, `undefined` if none does */
function findDoer(region: string, operation: Operation): string | undefined {
  let at = region;
  for (let hops = 0; hops < 3; hops++) {
    const bucket = buckets.get(at)!;
    const own: Operation = hops === 0 ? operation : { ...operation, isForwarded: true, hops };
    const about = { bucket: 0, producerId: 'prod-one', batchNumber: 1, atMs: START_MS, operations: [own] };
    bucket.forgetProducerStates();
    const result = apply(bucket, RULED_METRICS, about);
    if (result.kind !== 'applied') throw new Error(result.kind);
    if (result.outcomes[0] !== ELSEWHERE) return at;
    const next = bucket.homes.forwardTo(own);
    if (next === null) return undefined;
    at = next;
  }
  return undefined;
}

function choose(metric: number): Operation {
  batchNumber += 1;
  return { post: POST, metric, kind: 'set', value: 1, actor: key(batchNumber), session: key(7), seq: batchNumber };
}

test('an option is armed only in the region that decides about another option of the choice', () => {
  arm('us', YES, 9);
  expect(arm('us', NO, 9)).toMatchObject({ kind: 'armed' });
  open();
  arm('us', YES, 9);
  exchange();
  expect(arm('eu', NO, 9)).toEqual({ kind: 'choice', home: 'us' });
});

test('of two regions that arm options of a choice at once one yields, and all choose again', () => {
  arm('us', YES, 9);
  arm('eu', NO, 9);
  expect(findDoer('ap', choose(YES))).toBe('ap');
  exchange();
  exchange();
  expect(homeOf('ap', YES)).toEqual({ region: 'us', number: 1, mode: 'strict' });
  expect(homeOf('ap', NO)).toEqual({ region: 'eu', number: 2, mode: 'released' });
  for (const region of REGIONS) for (const metric of [YES, NO]) expect(findDoer(region, choose(metric))).toBe('us');
  expect(buckets.get('eu')!.milestones.get(POST, NO)!.armed).toEqual([]);
});

test('without that two regions would forward a choice to each other, and none would do it', () => {
  open({ yieldsChoices: false });
  arm('us', YES, 9);
  arm('eu', NO, 9);
  exchange();
  exchange();
  expect(findDoer('eu', choose(NO))).toBeUndefined();
});

test('a region that has armed an option below its start drops it when another region decides about the choice', () => {
  const { homes, replication } = buckets.get('us')!;
  homes.arm(POST, NO, 9, { mode: 'strict', from: 5 }, 0, replication.now(0));
  arm('eu', YES, 9);
  exchange();
  expect(homeOf('us', NO)).toBeNull();
  expect(buckets.get('us')!.milestones.get(POST, NO)!.armed).toEqual([]);
  for (const region of REGIONS) expect(findDoer(region, choose(NO))).toBe('eu');
});

test('a takeover of one option takes over all', () => {
  arm('us', YES, 9);
  arm('us', NO, 9);
  exchange();
  expect(arm('eu', NO, 9)).toEqual({ kind: 'elsewhere', home: 'us' });
  expect(arm('eu', NO, 9, true)).toMatchObject({ kind: 'armed' });
  exchange();
  exchange();
  expect(homeOf('ap', NO)).toEqual({ region: 'eu', number: 2, mode: 'strict' });
  expect(homeOf('ap', YES)).toEqual({ region: 'eu', number: 3, mode: 'released' });
  for (const region of REGIONS) expect(findDoer(region, choose(YES))).toBe('eu');
});

test('a choice waits while an earlier home may still decide about the option that it puts off', () => {
  arm('us', YES, 9);
  exchange();
  let hasConfirmations = false;
  open({ hasConfirmationOf: () => hasConfirmations });
  const eu = buckets.get('eu')!;
  const home = { region: 'us', number: 1, mode: 'strict' as const };
  eu.homes.exchange.merge(POST, { metric: YES, home, confirmations: [], reached: [] });
  arm('eu', YES, 9, true);
  expect(findDoer('eu', choose(NO))).toBeUndefined();
  hasConfirmations = true;
  expect(findDoer('eu', choose(NO))).toBe('eu');
});
