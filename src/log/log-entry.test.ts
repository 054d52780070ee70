import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type Key64, STORED_POST_PATTERN } from '../counters/ids.js';
import { type Metric, Metrics } from '../counters/metrics.js';
import type { Operation } from '../counters/operation.js';
import { isPostId } from '../protocol/limits.js';
import { decodeEntry, decodeEvent, encodeEntry, ENTRY_EVENTS_MAX, type LoggedEvent } from './log-entry.js';

const METRICS = Metrics.parse('likes:toggle,views:tally,shares:tally');
const AT_MS = Date.UTC(2026, 0, 1);
const VIEW: LoggedEvent = {
  ...{ post: '42', metric: 1, kind: 'add', value: 1 },
  ...{ actor: null, session: null, seq: 0, notifiesActor: false },
};

const keys: fc.Arbitrary<Key64> = fc.record({ hi: fc.nat(0xffffffff), lo: fc.nat(0xffffffff) });

const events: fc.Arbitrary<LoggedEvent> = fc
  .record({
    post: fc.stringMatching(STORED_POST_PATTERN).filter(isPostId),
    metric: fc.constantFrom(...METRICS.list),
    by: fc.integer({ min: 1, max: 1000 }),
    isUp: fc.boolean(),
    actor: fc.option(keys),
    session: fc.option(keys),
    seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    hasConnections: fc.boolean(),
  })
  .map(({ post, metric, by, isUp, actor, session, seq, hasConnections }) => {
    const change = toChange(metric, by, isUp, actor !== null);
    const isSet = change.kind === 'set';
    return {
      ...{ post, metric: metric.index, ...change },
      ...{ actor: isSet ? actor : null, session, seq: session === null ? 0 : seq },
      notifiesActor: isSet && hasConnections,
    };
  });

function toChange({ kind }: Metric, by: number, isUp: boolean, hasActor: boolean): Pick<Operation, 'kind' | 'value'> {
  const action = isUp || !kind.canDecrement ? 'increment' : 'decrement';
  const operation = kind.operationFor(action, hasActor);
  return operation.kind === 'add' ? { ...operation, value: by } : operation;
}

describe('entries of the log', () => {
  it('events that are decoded equal those that were encoded', () => {
    fc.assert(
      fc.property(fc.array(events, { maxLength: 20 }), fc.nat(2 ** 43), (given, atMs) => {
        const decoded = decodeEntry(encodeEntry(atMs, given, METRICS), METRICS);
        expect(decoded).toEqual({ acceptedAtMs: atMs, events: given, dead: [] });
      }),
    );
  });

  it('any payload is decoded, and each of its events is counted or dead', () => {
    const tuple = fc.array(fc.jsonValue(), { maxLength: 5 });
    const entry = fc.record({
      at: fc.oneof(fc.nat(), fc.jsonValue()),
      events: fc.oneof(fc.array(tuple), fc.jsonValue()),
    });
    fc.assert(
      fc.property(fc.oneof(entry, fc.jsonValue()), (value) => {
        const { acceptedAtMs, events: found, dead } = decodeEntry(JSON.stringify(value), METRICS);
        const list = acceptedAtMs === null ? [value] : (value as { events: unknown[] }).events;
        expect(found.length + dead.length).toBe(list.length);
        for (const { reason } of dead) expect(reason).not.toContain('\n');
      }),
    );
  });

  it('a view without a key takes few bytes', () => {
    expect(encodeEntry(AT_MS, [VIEW, VIEW], METRICS)).toBe(
      '{"at":1767225600000,"events":[["42","views"],["42","views"]]}',
    );
  });

  it('metrics are named, so that another order of METRICS keeps their events', () => {
    const payload = encodeEntry(AT_MS, [{ ...VIEW, metric: 2 }], METRICS);
    const other = Metrics.parse('likes:toggle,views:tally,saves:toggle,shares:tally');
    expect(decodeEntry(payload, other).events).toEqual([{ ...VIEW, metric: 3 }]);
  });

  it('an event that cannot be counted is dead, and the others of its entry are counted', () => {
    const payload =
      '{"at":1,"events":[["42","views"],["42","saves","on",{"actor":"00000000000004d2"}],["42","shares",2]]}';
    expect(decodeEntry(payload, METRICS)).toEqual({
      acceptedAtMs: 1,
      events: [VIEW, { ...VIEW, metric: 2, value: 2 }],
      dead: [
        {
          index: 1,
          reason: 'unknown metric "saves"; METRICS has likes:toggle,views:tally,shares:tally',
          event: '["42","saves","on",{"actor":"00000000000004d2"}]',
        },
      ],
    });
  });

  it('a dead event is counted when its metric exists', () => {
    const text = '["42","saves","on",{"actor":"00000000000004d2"}]';
    expect(() => decodeEvent(text, METRICS)).toThrow('unknown metric "saves"');
    expect(decodeEvent(text, Metrics.parse('likes:toggle,views:tally,saves:toggle'))).toMatchObject({
      ...{ metric: 2, kind: 'set', value: 1, actor: { hi: 0, lo: 1234 }, notifiesActor: true },
    });
  });

  it.each([
    ['["42"]', 'unknown metric nothing; METRICS has likes:toggle,views:tally,shares:tally'],
    ['["","views"]', 'post must be a string of 1 to 64 characters'],
    ['["..","views"]', 'post must be a string of 1 to 64 characters'],
    ['["42","live"]', 'unknown metric "live"'],
    ['["42","views",0]', 'the change of views, a tally, must be 1 to 1000, not 0'],
    ['["42","views",1001]', 'the change of views, a tally, must be 1 to 1000, not 1001'],
    ['["42","views","on"]', 'the change of views, a tally, must be 1 to 1000, not "on"'],
    ['["42","likes"]', 'the change of likes, a toggle, must be "on", "off", 1 or -1, not nothing'],
    ['["42","likes",2]', 'the change of likes, a toggle, must be "on", "off", 1 or -1, not 2'],
    ['["42","likes","on"]', 'a change "on" or "off" must have an actor, and others none'],
    ['["42","views",1,{"actor":"00000000000004d2"}]', 'a change "on" or "off" must have an actor, and others none'],
    ['["42","likes","on",{"actor":"4d2"}]', 'actor must be 16 hexadecimal digits'],
    ['["42","views",1,{"session":4}]', 'session must be 16 hexadecimal digits'],
    ['["42","views",1,{"seq":1}]', 'seq must be an integer from 1 on, and beside a session'],
    ['["42","views",1,{"session":"00000000000004d2","seq":0}]', 'seq must be an integer from 1 on'],
    ['["42","views",1,{"silent":0}]', 'silent must be 1'],
    ['["42","views",1,{"by":1}]', 'unknown option "by"'],
    ['["42","views",1,[]]', 'options must be an object'],
    ['["42","views",1,{},1]', 'an event must be [post, metric, change, options]'],
    ['{"post":"42"}', 'an event must be [post, metric, change, options]'],
  ])('the event %s is dead', (text, reason) => {
    expect(() => decodeEvent(text, METRICS)).toThrow(reason);
  });

  it.each([
    ['the entry is no JSON object', ''],
    ['the entry is no JSON object', '[]'],
    ['at must be a time in ms since 1970', '{"events":[]}'],
    ['events must be a list of at most 500 events', '{"at":1}'],
    ['events must be a list of at most 500 events', `{"at":1,"events":[${'0,'.repeat(ENTRY_EVENTS_MAX)}0]}`],
  ])('an entry is dead as a whole: %s', (reason, payload) => {
    expect(decodeEntry(payload, METRICS)).toEqual({
      acceptedAtMs: null,
      events: [],
      dead: [{ index: 0, reason, event: payload }],
    });
  });
});
