import { describe, expect, test } from '@jest/globals';
import { EMPTY } from 'rxjs';
import { ClosingFlag } from '../../src/common/closing-flag.js';
import type { PostCounts } from '../../src/counters/batch.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import type { AcceptedEvent } from '../../src/ingest/event-intake.js';
import { OperationCounts } from '../../src/ingest/operation-counts.js';
import { type EventLog, LOG_PARTITIONS } from '../../src/log/event-log.js';
import { decodeEntry } from '../../src/log/log-entry.js';
import { LogIntake } from '../../src/log/log-intake.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import { key, like, METRICS, START_MS, view } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { MemoryLog } from './memory-log.js';
import { settled } from './simulated-clock.js';

const BUCKETS = 64;
const EVENTS_MAX = 1_000;
/** Events that may be on their way to the log. */
const WAITING_MAX = 50_000;

describe('the intake of the log', () => {
  test('events are appended to the partitions of their posts, in their order', async () => {
    const { intake, log, results } = createIntake();
    const events = Array.from({ length: 40 }, (_, i) => event(`post-${i % 20}`, i + 1));
    expect(
      await intake.accept([...events, { ...like('post-0', key(7)), notifiesActor: true, onCounts: null }]),
    ).toEqual(Array.from({ length: 41 }, () => null));
    const kept = Array.from({ length: LOG_PARTITIONS }, (_, partition) => readEvents(log, partition));
    for (const [partition, ofPartition] of kept.entries())
      expect(ofPartition.map(({ post }) => bucketOf(post, BUCKETS) % LOG_PARTITIONS)).toEqual(
        ofPartition.map(() => partition),
      );
    const ofPost = kept.flat().filter(({ post }) => post === 'post-0');
    expect(ofPost.map(({ kind, value }) => [kind, value])).toEqual([
      ['add', 1],
      ['add', 21],
      ['set', 1],
    ]);
    expect(results()).toEqual(['add accepted 40', 'set accepted 1']);
  });

  test('events keep the time at which they were accepted', async () => {
    const { intake, log } = createIntake();
    await intake.accept([event('a')]);
    const partition = bucketOf('a', BUCKETS) % LOG_PARTITIONS;
    expect(decodeEntry(log.entriesOf(partition)[0]!.payload, METRICS).acceptedAtMs).toBe(START_MS);
  });

  test('a request without events is accepted at once', async () => {
    expect(await createIntake().intake.accept([])).toEqual([]);
  });

  test('a request for which the log has no room is shed as a whole', async () => {
    const { intake, log, results } = createIntake();
    await intake.accept(Array.from({ length: EVENTS_MAX - 1 }, () => event('a')));
    await expect(intake.accept([event('a'), event('b')])).rejects.toMatchObject({
      body: { code: 'OVERLOADED', retryable: true, retryAfterMs: 1_000 },
    });
    expect(log.stats.appendedEvents).toBe(EVENTS_MAX - 1);
    expect(results()).toEqual([`add accepted ${EVENTS_MAX - 1}`, 'add OVERLOADED 2']);
  });

  test('an append without an answer makes the request UNAVAILABLE, and a line says why', async () => {
    const { intake, results, warnings } = createIntake({ append: () => Promise.reject(new Error('no answer')) });
    await expect(intake.accept([event('a')])).rejects.toMatchObject({ body: { code: 'UNAVAILABLE', retryable: true } });
    expect(results()).toEqual(['add UNAVAILABLE 1']);
    await expect(intake.accept([event('a')])).rejects.toThrow();
    expect(warnings).toEqual(['events were rejected, because they could not be appended to the log: no answer']);
  });

  test('a log that does not answer holds a bounded number of events', async () => {
    const { intake } = createIntake({ append: () => new Promise(() => undefined) });
    const events = Array.from({ length: 500 }, () => event('a'));
    for (let i = 0; i < WAITING_MAX / events.length; i++) void intake.accept(events);
    await expect(intake.accept([event('a')])).rejects.toMatchObject({ body: { code: 'OVERLOADED' } });
  });

  test.each([
    ['the counts of before', {}],
    ['those of an unknown post while the store is down', { read: () => Promise.reject(new Error('down')) }],
  ])('the counts of a post are reported once for each of its events that is kept: %s', async (_, broken) => {
    const { intake } = createIntake(broken);
    const reported: unknown[] = [];
    const onCounts = (outcome: number, { post, v }: PostCounts): void => void reported.push([outcome, post, v]);
    await intake.accept([event('b'), ...['a', 'a'].map((post) => ({ ...event(post), onCounts }))]);
    await settled();
    expect(reported).toEqual([
      [0, 'a', 0],
      [0, 'a', 0],
    ]);
    await expect(
      intake.accept(Array.from({ length: EVENTS_MAX }, () => ({ ...event('c'), onCounts }))),
    ).rejects.toThrow();
    await settled();
    expect(reported).toHaveLength(2);
  });

  test('a gateway that is closing accepts no events', async () => {
    const { intake, log, lifecycle } = createIntake();
    lifecycle.startClosing();
    await expect(intake.accept([event('a')])).rejects.toMatchObject({ body: { code: 'OVERLOADED' } });
    expect(log.stats.appendedEvents).toBe(0);
  });
});

function createIntake(broken: Partial<Pick<EventLog, 'append'> & Pick<CounterStore, 'read'>> = {}): {
  readonly intake: LogIntake;
  readonly log: MemoryLog;
  readonly lifecycle: ClosingFlag;
  readonly results: () => string[];
  readonly warnings: readonly string[];
} {
  const log = new MemoryLog({
    eventsMax: EVENTS_MAX,
    newName: () => 'log',
    isReplicated: false,
    nextIncarnation: (last) => last + 1,
  });
  const counts = new OperationCounts(EMPTY, EMPTY);
  const lifecycle = new ClosingFlag();
  const append: EventLog['append'] = (appends) => log.append(appends);
  const warnings: string[] = [];
  const warn = (message: string): unknown => warnings.push(message);
  const options = { buckets: BUCKETS, metrics: METRICS, wallMs: () => START_MS, warn };
  const store = new ReferenceStore(METRICS, BUCKETS, { region: 'eu', epoch: 1, nonce: 1 });
  const read: CounterStore['read'] = (posts, actor) => store.read(posts, actor);
  const intake = new LogIntake({ append, ...broken }, { read, ...broken }, counts, lifecycle, options);
  const results = (): string[] => [...counts.entries()].map(({ kind, result, count }) => `${kind} ${result} ${count}`);
  return { intake, log, lifecycle, results, warnings };
}

function event(post: string, by = 1): AcceptedEvent {
  return { ...view(post, by), notifiesActor: false, onCounts: null };
}

function readEvents(log: MemoryLog, partition: number): readonly { post: string; kind: string; value: number }[] {
  return log.entriesOf(partition).flatMap(({ payload }) => decodeEntry(payload, METRICS).events);
}
