import { beforeEach, expect, test } from '@jest/globals';
import { MemoryBucket } from '../../../test/contract/memory-bucket.js';
import { key, like, METRICS, RULED_METRICS, START_MS, view } from '../../../test/contract/operations.js';
import { apply, COUNTING_RULES, type CountingRules } from '../apply.js';
import { computeTotal } from '../bucket.js';
import { LIKES, type Metrics, VIEWS } from '../metrics.js';
import { APPLIED, DUPLICATE, ELSEWHERE, ON, type Operation, REACHED } from '../operation.js';
import { HOME_RULES, type HomeRules } from './home-rules.js';
import { newReplicationState, ReplicationState } from './replication-state.js';

const ANN = key(1);
const SESSION = key(7);

let bucket: MemoryBucket;
let n: number;

/** Applies the operations as the next batch. @returns their outcomes */
function outcomes(
  operations: Operation[],
  rules: CountingRules = COUNTING_RULES,
  metrics: Metrics = METRICS,
  isReplay = false,
): number[] {
  const about = { bucket: 0, producerId: 'prod-one', batchNumber: ++n, atMs: START_MS };
  const batch = { ...about, operations, ...(isReplay && { isReplay }) };
  const result = apply(bucket, metrics, batch, rules);
  if (result.kind !== 'applied') throw new Error(result.kind);
  return [...result.outcomes];
}

/** Makes a region the home of a metric of the post. */
function setHome(post: string, metric: number, region: string): void {
  const home = { region, number: 1, mode: 'strict' as const };
  bucket.setPost(post, { v: 1, updatedAtMs: START_MS, metrics: [] });
  bucket.homes.exchange.merge(post, { metric, home, confirmations: [], reached: [] });
}

function releaseHome(post: string, metric: number, region: string): void {
  const home = { region, number: 2, mode: 'released' as const };
  bucket.homes.exchange.merge(post, { metric, home, confirmations: [], reached: [] });
}

/** Has an operation of a choice forwarded, because the option that it puts off has a home. @returns its outcome after the release */
function retryChoice(rules: HomeRules): number {
  bucket = newBucket(RULED_METRICS, rules);
  const [yes, no] = ['yes', 'no'].map((name) => RULED_METRICS.byName(name)!.index) as [number, number];
  const choose: Operation = { post: 'p', metric: yes, kind: 'set', value: 1, actor: ANN, session: SESSION, seq: 1 };
  setHome('p', no, 'us');
  expect(outcomes([choose], COUNTING_RULES, RULED_METRICS)).toEqual([ELSEWHERE]);
  expect(bucket.homes.forwardTo(choose)).toBe('us');
  releaseHome('p', no, 'us');
  const [outcome] = outcomes([choose], COUNTING_RULES, RULED_METRICS);
  if (outcome === ELSEWHERE) expect(bucket.homes.forwardTo(choose)).toBe('us');
  return outcome!;
}

function newBucket(metrics: Metrics, rules: HomeRules): MemoryBucket {
  const state = new ReplicationState('eu', newReplicationState(0));
  return new MemoryBucket({ region: 'eu', epoch: 1, nonce: 10 }, state, { metrics, peers: ['ap', 'us'], rules });
}

beforeEach(() => {
  bucket = newBucket(METRICS, HOME_RULES);
  n = 0;
});

test('later operations of a session in a batch wait for one that another region has to do', () => {
  setHome('p', VIEWS, 'us');
  const other = key(8);
  const batch = [
    view('p', 1, { session: SESSION, seq: 1 }),
    like('p', ANN, { session: SESSION, seq: 2 }),
    like('p', key(2), { session: other, seq: 1 }),
    view('q'),
  ];
  expect(outcomes(batch)).toEqual([ELSEWHERE, ELSEWHERE, APPLIED | ON, APPLIED]);
  expect(outcomes(batch.slice(0, 1))).toEqual([ELSEWHERE]);
  expect(outcomes(batch.slice(1, 2))).toEqual([APPLIED | ON]);
});

test('without that wait the retry of the one before would be a duplicate, although nobody has counted it', () => {
  setHome('p', VIEWS, 'us');
  const first = view('p', 1, { session: SESSION, seq: 1 });
  outcomes([first, like('p', ANN, { session: SESSION, seq: 2 })], { ...COUNTING_RULES, elsewhereIsAwaited: false });
  expect(outcomes([first])).toEqual([DUPLICATE]);
});

test('operations of a session for one region follow each other in a batch, and those for another one wait', () => {
  setHome('p', VIEWS, 'us');
  setHome('q', LIKES, 'us');
  setHome('q', VIEWS, 'ap');
  const [first, second, third, fourth] = [
    view('p', 1, { session: SESSION, seq: 1 }),
    like('q', ANN, { session: SESSION, seq: 2 }),
    view('q', 1, { session: SESSION, seq: 3 }),
    view('p', 1, { session: SESSION, seq: 4 }),
  ] as const;
  expect(outcomes([first, second, third, fourth])).toEqual(Array(4).fill(ELSEWHERE));
  const regions = [first, second, third, fourth].map((operation) => bucket.homes.forwardTo(operation));
  expect(regions).toEqual(['us', 'us', 'ap', 'us']);
  // The third and the fourth have left no mark: once the region releases, they are counted here.
  for (const metric of [VIEWS, LIKES]) for (const post of ['p', 'q']) releaseHome(post, metric, 'us');
  expect(outcomes([second])).toEqual([ELSEWHERE]);
  expect(outcomes([third])).toEqual([APPLIED]);
  expect(outcomes([fourth])).toEqual([APPLIED]);
});

test('a retry of a choice that was forwarded for the option that it puts off is forwarded again after the release', () => {
  expect(retryChoice(HOME_RULES)).toBe(ELSEWHERE);
});

test('a lookup under its own metric only would have it done a second time', () => {
  expect(retryChoice({ ...HOME_RULES, forwardedFor: ([own]) => [own!] })).toBe(APPLIED | ON);
});

test('an event of a log is counted here whichever region decides, because nobody would forward it', () => {
  setHome('p', VIEWS, 'us');
  const count = (rules: CountingRules): number => {
    const operations = [view('p')];
    const batch = { bucket: 0, producerId: 'log', batchNumber: ++n, afterInLog: n - 1, atMs: START_MS, operations };
    const result = apply(bucket, METRICS, batch, rules);
    if (result.kind !== 'applied') throw new Error(result.kind);
    return result.outcomes[0]!;
  };
  expect(count(COUNTING_RULES)).toBe(APPLIED);
  expect(count({ ...COUNTING_RULES, logIsCountedHere: false })).toBe(ELSEWHERE);
});

test('a replay is counted here again, although another region decides now, but for what was forwarded since', () => {
  setHome('p', VIEWS, 'us');
  const [first, second] = [1, 2].map((seq) => view('p', 1, { session: SESSION, seq })) as [Operation, Operation];
  expect(outcomes([first])).toEqual([ELSEWHERE]);
  expect(outcomes([first, second, view('p')], COUNTING_RULES, METRICS, true)).toEqual([ELSEWHERE, APPLIED, APPLIED]);
  expect(outcomes([view('p')])).toEqual([ELSEWHERE]);
});

test('a replay that might reach a milestone changes nothing while this region may not decide', () => {
  bucket.homes.arm('p', VIEWS, 3, { mode: 'strict', from: 1 }, 0, 1);
  expect(outcomes([view('p')])).toEqual([APPLIED]);
  const operations = [view('p'), view('p')];
  expect(() => outcomes(operations, COUNTING_RULES, METRICS, true)).toThrow('undecided');
  expect(computeTotal(bucket.post('p')!.metrics[VIEWS])).toBe(1);
  n -= 1;
  expect(outcomes(operations)).toEqual([APPLIED, ELSEWHERE]);
});

test('the record of a toggle that reaches a milestone travels with the commit', () => {
  bucket = newBucket(METRICS, { ...HOME_RULES, waitsForConfirmations: false });
  bucket.homes.arm('p', LIKES, 1, { mode: 'order' }, 0, bucket.replication.now(START_MS));
  const before = bucket.replication.now(START_MS);
  expect(outcomes([like('p', ANN)])).toEqual([APPLIED | ON | REACHED]);
  const { entries } = bucket.replication.feed.entriesAfter(before, 10);
  expect(entries.filter(({ actor }) => actor === null).map(({ post }) => post)).toEqual(['p']);
});
