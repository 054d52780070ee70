import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type Key64, STORED_POST_PATTERN } from '../counters/ids.js';
import { type Metric, Metrics } from '../counters/metrics.js';
import type { Operation } from '../counters/operation.js';
import { isPostId } from '../protocol/limits.js';
import { decodeEntry, decodeEvent, encodeEntry, ENTRY_EVENTS_MAX, type LoggedEvent } from './log-entry.js';

const METRICS = Metrics.parse(
  'likes:toggle,views:tally,shares:tally,readers:unique,yes:choice@vote,no:choice@vote,reads:unique@30m',
);
const READS = 6;
const ADA = { hi: 0, lo: 1234 };
const AT_MS = Date.UTC(2026, 0, 1);
const AT_S = AT_MS / 1_000;
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
    atS: fc.nat(2 ** 32),
  })
  .map(({ post, metric, by, isUp, actor, session, seq, hasConnections, atS }) => {
    const change = toChange(metric, by, isUp, actor !== null || metric.kind.isUnique);
    const isSet = change.kind === 'set';
    const isVisit = change.kind === 'visit';
    return {
      ...{ post, metric: metric.index, ...change },
      ...{ actor: isSet || isVisit ? (actor ?? ADA) : null, session, seq: session === null ? 0 : seq },
      notifiesActor: isVisit || (isSet && hasConnections),
      ...(isVisit && { atS }),
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
      '{"at":1999,"events":[["42","views"],["42","saves","on",{"actor":"00000000000004d2"}],["42","shares",2]]}';
    expect(decodeEntry(payload, METRICS)).toEqual({
      acceptedAtMs: 1999,
      events: [VIEW, { ...VIEW, metric: 2, value: 2 }],
      dead: [
        {
          index: 1,
          reason: expect.stringMatching(/^unknown metric "saves"; METRICS has likes:toggle,.*,reads:unique@30m$/),
          event: '["42","saves","on",{"actor":"00000000000004d2","atS":1}]',
        },
      ],
    });
  });

  it('a dead event is counted when its metric exists', () => {
    const text = '["42","saves","on",{"actor":"00000000000004d2"}]';
    expect(() => decodeEvent(text, METRICS, AT_S)).toThrow('unknown metric "saves"');
    expect(decodeEvent(text, Metrics.parse('likes:toggle,views:tally,saves:toggle'), AT_S)).toMatchObject({
      ...{ metric: 2, kind: 'set', value: 1, actor: ADA, notifiesActor: true },
    });
  });

  it('a visit has its actor and the second in which its entry was accepted', () => {
    const visit: LoggedEvent = { ...VIEW, metric: READS, kind: 'visit', actor: ADA, notifiesActor: true, atS: AT_S };
    const payload = encodeEntry(AT_MS + 999, [visit, { ...visit, atS: AT_S - 60 }], METRICS);
    expect(JSON.parse(payload)).toMatchObject({
      events: [
        ['42', 'reads', 1, { actor: '00000000000004d2' }],
        ['42', 'reads', 1, { actor: '00000000000004d2', atS: AT_S - 60 }],
      ],
    });
    expect(decodeEntry(payload, METRICS).events.map(({ atS }) => atS)).toEqual([AT_S, AT_S - 60]);
  });

  it('a dead visit that is counted later has the time at which it was accepted', () => {
    const payload = '{"at":1767225600999,"events":[["42","visits",1,{"actor":"00000000000004d2"}],["42","visits"]]}';
    const [visit, added] = decodeEntry(payload, METRICS).dead.map(({ event }) => event);
    const later = Metrics.parse('likes:toggle,views:tally,visits:unique@1m');
    expect(decodeEvent(visit!, later, AT_S + 60)).toMatchObject({ kind: 'visit', actor: ADA, atS: AT_S });
    expect(decodeEvent(added!, later, AT_S + 60)).toMatchObject({ kind: 'add', value: 1, actor: null });
  });

  it.each([
    ['a visit counts in a tally as any 1', 'unique@30m', 'tally', { kind: 'add', value: 1, actor: null }],
    ['an addition counts in a unique with a window', 'tally', 'unique@30m', { kind: 'add', value: 1, actor: null }],
    ['a toggle counts its actor in a unique', 'toggle', 'unique', { kind: 'set', value: 1, actor: ADA }],
    ['a unique counts its actor in a choice', 'unique', 'choice@vote', { kind: 'set', value: 1, actor: ADA }],
  ])('%s after its kind has changed', (_, before, after, expected) => {
    const parse = (kind: string): Metrics => Metrics.parse(`likes:choice@vote,views:tally,no:choice@vote,own:${kind}`);
    const operation = parse(before).list[3]!.kind.operationFor('increment', true);
    const event = { ...VIEW, metric: 3, ...operation, actor: operation.kind === 'add' ? null : ADA, atS: AT_S };
    expect(decodeEntry(encodeEntry(AT_MS, [event], parse(before)), parse(after))).toMatchObject({
      ...{ events: [expected], dead: [] },
    });
  });

  it.each([
    ['["42"]', 'unknown metric nothing; METRICS has likes:toggle,views:tally,shares:tally,readers:unique'],
    ['["","views"]', 'post must be a string of 1 to 64 characters'],
    ['["..","views"]', 'post must be a string of 1 to 64 characters'],
    ['["42","live"]', 'unknown metric "live"'],
    ['["42","views",0]', 'the change of views, a tally, must be 1 to 1000 without an actor, not 0'],
    ['["42","views",1001]', 'the change of views, a tally, must be 1 to 1000 without an actor, not 1001'],
    ['["42","views","on"]', 'the change of views, a tally, must be 1 to 1000 without an actor, not "on"'],
    ['["42","likes"]', 'the change of likes, a toggle, must be 1 or -1 without an actor, not nothing'],
    ['["42","likes",2]', 'the change of likes, a toggle, must be 1 or -1 without an actor, not 2'],
    ['["42","likes","on"]', 'the change of likes, a toggle, must be 1 or -1 without an actor, not "on"'],
    [
      '["42","readers",1,{"actor":"00000000000004d2"}]',
      'readers, a unique, must be "on" or "off" with an actor, not 1',
    ],
    ['["42","reads",2,{"actor":"00000000000004d2"}]', 'reads, a unique@30m, must be 1 with an actor, not 2'],
    ['["42","reads",1,{"actor":"00000000000004d2","atS":-1}]', 'atS must be a time in seconds since 1970'],
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
    expect(() => decodeEvent(text, METRICS, AT_S)).toThrow(reason);
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
