import { expect, test } from '@jest/globals';
import { Subject } from 'rxjs';
import type { Key64 } from '../../counters/ids.js';
import { LIKES, Metrics, VIEWS } from '../../counters/metrics.js';
import { APPLIED, buildSwitched, ON } from '../../counters/operation.js';
import type { RemoteToggle } from '../../counters/replication/delta.js';
import { ActorStreams, toActorRoom } from '../../fanout/actor-streams.js';
import type { CommittedBatch } from '../../ingest/ingest-events.js';
import type { PendingOperation } from '../../ingest/pending-operation.js';
import { ActorNotifier } from './actor-notifier.js';

const ADA = { hi: 1, lo: 2 };
const ADAS_ROOM = 'actor:0000000100000002';
const METRICS = Metrics.parse(
  'likes:toggle,views:tally,readers:unique,yes:choice@vote,no:choice@vote,maybe:choice@vote',
);
const READERS = 2;
const YES = 3;
const NO = 4;
const MAYBE = 5;

/** A namespace with these sockets, all in Ada's room, and the events that it is given to emit. */
function world(sockets: string[], hasRemoteSubscribers?: () => boolean) {
  const committed = new Subject<CommittedBatch>();
  const remoteToggles = new Subject<readonly RemoteToggle[]>();
  const emitted: unknown[] = [];
  const emitTo = (id: string) => ({ emit: (_: string, event: unknown) => emitted.push([id, event]) });
  const namespace = {
    sockets: new Map(sockets.map((id) => [id, emitTo(id)])),
    adapter: { rooms: new Map([[ADAS_ROOM, new Set(sockets)]]), ...(hasRemoteSubscribers && { hasRemoteSubscribers }) },
    to: (room: string) => ({
      except: (except: string[]) => ({ emit: (_: string, event: unknown) => emitted.push([room, event, except]) }),
    }),
  };
  const streams = new ActorStreams();
  new ActorNotifier(namespace, streams, METRICS, committed, remoteToggles);
  const commit = (operations: PendingOperation[], outcomes: number[], answeredFrom = 0): void => {
    committed.next({ bucket: 0, operations, outcomes: Uint8Array.from(outcomes), counts: new Map(), answeredFrom });
  };
  return { commit, remoteToggles, emitted, streams };
}

function like(socketId: string | null, post = 'a', actor: Key64 = ADA): PendingOperation {
  return { kind: 'set', post, metric: LIKES, actor, socketId, notifiesActor: true } as PendingOperation;
}

/** An operation on an option of the vote. */
function choose(metric: number, socketId: string | null): PendingOperation {
  return { ...like(socketId), metric };
}

function chose(putOff: number, metric: number = NO): number {
  return APPLIED | ON | buildSwitched(METRICS.otherOptions[metric]!, [putOff]);
}

function changed(metric: string, on: boolean): object {
  return { post: 'a', metric, on };
}

function liked(post = 'a', on = true): object {
  return { post, metric: 'likes', on };
}

test('the room of an actor is named by the 64 bits of its key', () => {
  expect(toActorRoom({ hi: 0, lo: 42 })).toBe('actor:000000000000002a');
  expect(toActorRoom({ hi: 2 ** 32 - 1, lo: 2 ** 32 - 1 })).toBe('actor:ffffffffffffffff');
});

test("an actor's connections are notified of a toggle, except the one that sent it", () => {
  const { commit, emitted } = world(['one', 'two']);
  commit([like('one'), like(null, 'b')], [APPLIED | ON, APPLIED]);
  expect(emitted).toEqual([
    [ADAS_ROOM, liked(), ['one']],
    [ADAS_ROOM, liked('b', false), []],
  ]);
});

test('an actor with one connection is not notified, unless another gateway may have more', () => {
  const alone = world(['one']);
  alone.commit([like('one')], [APPLIED | ON]);
  expect(alone.emitted).toEqual([]);
  const elsewhere = world(['one'], () => true);
  elsewhere.commit([like('one')], [APPLIED | ON]);
  expect(elsewhere.emitted).toEqual([[ADAS_ROOM, liked(), ['one']]]);
});

test('only a toggle that changed leads to a notification', () => {
  const { commit, emitted } = world(['one', 'two']);
  const view = { ...like('one'), kind: 'add', metric: VIEWS } as PendingOperation;
  const anonymous = { ...like('one'), notifiesActor: false };
  commit([like('one'), view, anonymous], [ON, APPLIED, APPLIED | ON]);
  expect(emitted).toEqual([]);
});

test('an operation that missed its deadline leads to no notification', () => {
  const { commit, emitted } = world(['one', 'two']);
  commit([like('one'), like('one', 'b')], [APPLIED | ON, APPLIED | ON], 1);
  expect(emitted).toEqual([[ADAS_ROOM, liked('b'), ['one']]]);
});

test('a connection that set the same toggle later in the batch is not notified of the earlier change', () => {
  const { commit, emitted } = world(['one', 'two', 'three']);
  const operations = [like('one'), like('two', 'b'), like('two', 'a', { hi: 9, lo: 2 }), like('two')];
  commit(operations, [APPLIED | ON, APPLIED | ON, 0, APPLIED]);
  expect(emitted).toEqual([
    [ADAS_ROOM, liked(), ['one', 'two']],
    [ADAS_ROOM, liked('b'), ['two']],
    [ADAS_ROOM, liked('a', false), ['two']],
  ]);
});

test('all connections of an actor are notified of the option that a choice put off', () => {
  const { commit, emitted } = world(['one', 'two']);
  commit([choose(NO, 'one')], [chose(YES)]);
  expect(emitted).toEqual([
    [ADAS_ROOM, changed('no', true), ['one']],
    [ADAS_ROOM, changed('yes', false), []],
  ]);
});

test('a single connection is notified of all options that its choice may have put off', () => {
  const { commit, emitted } = world(['one']);
  commit([choose(NO, 'one')], [APPLIED | ON | buildSwitched(METRICS.otherOptions[NO]!, [YES, MAYBE])]);
  expect(emitted).toEqual([
    [ADAS_ROOM, changed('yes', false), []],
    [ADAS_ROOM, changed('maybe', false), []],
  ]);
});

test('a connection that has set an option later in the batch is not notified that it was put off before', () => {
  const { commit, emitted } = world(['one']);
  commit([choose(YES, 'one'), choose(NO, 'one'), choose(YES, 'one')], [APPLIED | ON, chose(YES), chose(NO, YES)]);
  expect(emitted).toEqual([
    [ADAS_ROOM, changed('yes', false), ['one']],
    [ADAS_ROOM, changed('no', false), []],
  ]);
});

test('a connection without an actor is notified of the option that its choice put off, and nobody else is', () => {
  const { commit, emitted } = world(['one', 'two']);
  const anonymous = { notifiesActor: false };
  commit([{ ...choose(NO, 'one'), ...anonymous }], [chose(YES)]);
  commit([{ ...choose(YES, null), ...anonymous }], [chose(NO, YES)]);
  commit(
    [
      { ...choose(YES, 'one'), ...anonymous },
      { ...choose(NO, 'one'), ...anonymous },
    ],
    [chose(NO, YES), 0],
  );
  expect(emitted).toEqual([['one', changed('yes', false)]]);
});

test('nobody is notified of a unique, from here or from another region', () => {
  const { commit, remoteToggles, emitted } = world(['one', 'two']);
  commit([choose(READERS, 'one')], [APPLIED | ON]);
  remoteToggles.next([{ post: 'a', metric: READERS, actor: ADA, on: true }]);
  expect(emitted).toEqual([]);
});

test('all connections of an actor are notified of a toggle from another region', () => {
  const { remoteToggles, emitted } = world(['one']);
  remoteToggles.next([{ post: 'a', metric: LIKES, actor: ADA, on: false }]);
  expect(emitted).toEqual([[ADAS_ROOM, liked('a', false), []]]);
});

test('streams of an actor are notified beside its sockets, until they are removed', () => {
  const { commit, streams } = world(['one', 'two']);
  const received: unknown[] = [];
  const stream = { sendMine: (event: unknown) => received.push(event), sendBye: () => undefined };
  streams.add(ADA, stream);
  streams.add({ hi: 1, lo: 3 }, { ...stream, sendMine: () => received.push('another actor') });
  commit([like('one')], [APPLIED | ON]);
  streams.remove(ADA, stream);
  commit([like('one')], [APPLIED]);
  expect(received).toEqual([liked()]);
});
