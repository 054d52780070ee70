import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Metrics, VIEWS } from '../../src/counters/metrics.js';
import { APPLIED } from '../../src/counters/operation.js';
import type { Delta } from '../../src/counters/replication/delta.js';
import type { ForwardedOperation } from '../../src/counters/replication/forwarded-operation.js';
import { HOME_RULES } from '../../src/counters/replication/home-rules.js';
import type { Forwarding, WaitReason } from '../../src/ingest/forwarding.js';
import type { StalledOperation } from '../../src/ingest/ingest-events.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { type Attempt, FLUSH_MS, IngestWorld, view } from './ingest-world.js';

const METRICS = Metrics.parse('likes:toggle,views:tally');
/** Two lanes hold this many: a call in flight, and those that wait for one. */
const HELD_MAX = 2 * (250 + 5_000);
const CALL_MS = 5_000;
/** A gateway that closes waits this long. */
const DRAIN_MS = 10_000;

/** The region that decides about the views of post `a`. */
class Peer implements Forwarding {
  /** `hangs`: a call ends with its time limit. `babbles`: it answers with too few outcomes. */
  conduct: 'answers' | 'hangs' | 'babbles' = 'answers';
  readonly received: ForwardedOperation[] = [];

  constructor(
    private readonly store: ReferenceStore,
    private readonly pause: (ms: number) => Promise<void>,
  ) {}

  forwardTo(operations: Parameters<Forwarding['forwardTo']>[0]): Promise<readonly (string | null)[]> {
    return this.store.milestones.forwardTo(operations);
  }

  async forward(_region: string, operations: readonly ForwardedOperation[]): Promise<readonly number[]> {
    const { conduct } = this;
    await this.pause(conduct === 'hangs' ? CALL_MS : 10);
    if (conduct === 'hangs') throw new Error('no response within 5 s');
    this.received.push(...operations);
    const outcomes = operations.map(() => APPLIED);
    return conduct === 'babbles' ? outcomes.slice(1) : outcomes;
  }

  findWaitReason(): Promise<WaitReason> {
    return Promise.resolve({ regions: [], cause: 'unconfirmed' });
  }
}

let world: IngestWorld;
let peer: Peer;
let stalled: StalledOperation[];

beforeEach(async () => {
  const regions = { peers: ['us'], rules: HOME_RULES };
  const region = { region: 'eu', epoch: 1, nonce: 1 };
  const inner = new ReferenceStore(
    METRICS,
    1,
    region,
    () => 2,
    undefined,
    undefined,
    undefined,
    () => 0,
    regions,
  );
  const home = {
    metric: VIEWS,
    home: { region: 'us', number: 1, mode: 'strict' },
    confirmations: [],
    reached: [],
  } as const;
  const about = { bucket: 0, after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0, fullSyncReceiver: null };
  const source = { source: { region: 'us', epoch: 1, nonce: 5 }, startedAtStamp: 0, predecessors: [] };
  const posts = [{ post: 'a', updatedAtMs: 0, entries: [], registers: [], members: [], homes: [home] }];
  const delta: Delta = { kind: 'changes', ...about, ...source, posts };
  await inner.merge([delta]);
  peer = new Peer(inner, (ms) => new Promise((resolve) => void world.clock.after(ms, resolve)));
  world = new IngestWorld({ inner, forwarding: peer });
  stalled = [];
  world.ingest.stalled.subscribe((one) => stalled.push(one));
});

afterEach(() => {
  expect(world.ingest.pending).toBe(0);
});

function submit(post: string, client: number, seq: number): Attempt {
  return world.submit(view(post, { hi: 3, lo: client }, seq));
}

function answersOf(attempts: readonly Attempt[]): string[] {
  return [...new Set(attempts.map(({ answers }) => answers.join()))];
}

test('while the region hangs, operations beyond a limit fail at once, the others in time, and other posts go on', async () => {
  peer.conduct = 'hangs';
  const attempts = Array.from({ length: HELD_MAX + 1_500 }, (_, client) => submit('a', client, 1));
  const behind = submit('b', 0, 2);
  await world.clock.advance(FLUSH_MS + 5);
  const other = submit('b', 1_000_000, 1);
  await world.clock.advance(1_000);
  expect(other.answers).toEqual(['settled']);
  const rejected = attempts.filter(({ error }) => error?.message.startsWith('too many operations wait for region us'));
  expect(rejected).toHaveLength(1_500);
  await world.clock.advance(2 * CALL_MS);
  expect(answersOf([...attempts, behind])).toEqual(['UNAVAILABLE']);
  const message = 'near a milestone this metric of the post waits until region us, which counts it, answers';
  expect(attempts[0]!.error!.message).toContain(message);
  expect(attempts.at(-1_501)!.error!.message).toContain(message);
  expect(stalled[0]).toMatchObject({ regions: ['us'], cause: 'silent' });
  peer.conduct = 'answers';
  // Also sessions of which nothing had left go on.
  const retries = Array.from({ length: HELD_MAX }, (_, client) => submit('a', client, 1));
  const later = Array.from({ length: HELD_MAX }, (_, client) => submit('b', client, 2));
  await world.clock.advance(2_000);
  expect(answersOf([...retries, ...later])).toEqual(['settled']);
});

test('an answer with too few outcomes is none: nobody gets the outcome of another operation', async () => {
  peer.conduct = 'babbles';
  const attempts = [1, 2, 3, 4].map((client) => submit('a', client, 1));
  await world.clock.advance(100);
  expect(answersOf(attempts)).toEqual(['UNAVAILABLE']);
  peer.conduct = 'answers';
  const retries = [1, 2, 3, 4].map((client) => submit('a', client, 1));
  await world.clock.advance(100);
  expect(answersOf(retries)).toEqual(['settled']);
});

test('a gateway that closes answers what is on its way', async () => {
  const attempts = Array.from({ length: 600 }, (_, client) => submit('a', client, 1));
  await world.clock.advance(FLUSH_MS);
  const drained = world.drain(DRAIN_MS);
  await world.clock.advance(1_000);
  await drained;
  expect(answersOf(attempts)).toEqual(['settled']);
  expect(peer.received).toHaveLength(600);
});

test('a gateway that closes while the region hangs fails what is on its way, and ends', async () => {
  peer.conduct = 'hangs';
  const attempts = Array.from({ length: 600 }, (_, client) => submit('a', client, 1));
  await world.clock.advance(FLUSH_MS);
  let hasEnded = false;
  void world.drain(DRAIN_MS).then(() => (hasEnded = true));
  await world.clock.advance(DRAIN_MS - 1_000);
  expect(answersOf(attempts)).toEqual(['UNAVAILABLE']);
  expect(hasEnded).toBe(true);
});
