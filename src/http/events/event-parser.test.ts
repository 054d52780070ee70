import { expect, it } from '@jest/globals';
import { EVENT } from '../../protocol/http-request-schemas.js';
import { isPlainEvent } from './event-parser.js';

/** Values of one field; `undefined` leaves it out. */
const CANDIDATES: Readonly<Record<string, readonly unknown[]>> = {
  post: ['42', 'a_b.c:d-e', 'x'.repeat(64), undefined, 42, '', '.', 'a b', 'x'.repeat(65), null, ['42']],
  metric: [undefined, 'views', 'toString', '', 1, null],
  by: [undefined, 1, 1_000, 0, 1_001, 1.5, -1, '1', null],
  on: [undefined, true, false, 1, null],
  seq: [undefined, 1, Number.MAX_SAFE_INTEGER, 2 ** 53, 0, 0.5, '1', null],
  other: [undefined, 1],
};

it('an event is plain exactly if the schema accepts it and it has no key', () => {
  const valid = { post: '42', seq: 7 };
  const events = Object.entries(CANDIDATES).flatMap(([field, values]) =>
    values.flatMap((value) => [toJsonValue({ ...valid, [field]: value }), toJsonValue({ post: 'a', [field]: value })]),
  );
  events.push(null, 1, 'post', [], [valid], {}, JSON.parse('{ "post": "42", "__proto__": { "post": "43" } }'));
  for (const event of events) expect([event, isPlainEvent(event)]).toEqual([event, EVENT.safeParse(event).success]);
  expect(isPlainEvent({ ...valid, key: 'a-key-of-it' })).toBe(false);
});

/** As a body has it: without fields that are undefined. */
function toJsonValue(event: object): unknown {
  return JSON.parse(JSON.stringify(event));
}
