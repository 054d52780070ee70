import { expect, test } from '@jest/globals';
import { toActorKey, toRequestKey, toSessionKey } from './name-hashing.js';

const INT64S = [
  ['0', 0, 0],
  ['1', 0, 1],
  ['-1', 0xffffffff, 0xffffffff],
  ['4294967295', 0, 0xffffffff],
  ['4294967296', 1, 0],
  ['9223372036854775807', 0x7fffffff, 0xffffffff],
  ['-9223372036854775808', 0x80000000, 0],
] as const;

test.each(INT64S)('with int64 the number %s is its own key', (text, hi, lo) => {
  expect(toActorKey(text, 'int64')).toEqual({ hi, lo });
});

test.each(INT64S)('with hash the number %s is hashed like any name', (text, hi, lo) => {
  expect(toActorKey(text, 'hash')).not.toEqual({ hi, lo });
});

const NO_INT64 = ['', '00', '01', '-0', '+1', ' 1', '1 ', '1\n', '1.0', '1e3', '0x1', '١', 'ada'];

test.each([...NO_INT64, '9223372036854775808', '-9223372036854775809'])('with int64 "%s" has no key', (text) => {
  expect(toActorKey(text, 'int64')).toBeNull();
});

test('with hash a name has the first 64 bits of its SHA-256', () => {
  // FIPS 180-4, example "abc": ba7816bf 8f01cfea …
  expect(toActorKey('abc', 'hash')).toEqual({ hi: 0xba7816bf, lo: 0x8f01cfea });
});

test('names that differ in case, in spaces or in their Unicode form have different keys', () => {
  const names = ['ada', 'Ada', 'ada ', '\u00e9', 'e\u0301', '1', '-1', '01'];
  expect(new Set(names.map((name) => JSON.stringify(toActorKey(name, 'hash')))).size).toBe(names.length);
});

test('sessions of different actors, or of none, have different keys', () => {
  const sessions = [
    ['ann', 'session-one'],
    ['ann', 'session-two'],
    ['bob', 'session-one'],
    ['null', 'session-one'],
    [null, 'session-one'],
    [null, '["session","ann","session-one"]'],
    ['ann","session', 'one'],
  ] as const;
  const keys = sessions.map(([actor, session]) => JSON.stringify(toSessionKey(actor, session)));
  expect(new Set(keys).size).toBe(sessions.length);
});

test('no two requests share a key, and no request has the key of a session with the same text', () => {
  const request = { actor: 'ann', idempotencyKey: '12345678', post: 'p', metric: 'views', action: 'increment' };
  const requests = [
    request,
    { ...request, actor: null },
    { ...request, actor: 'bob' },
    { ...request, idempotencyKey: '12345679' },
    { ...request, post: 'q' },
    { ...request, metric: 'likes' },
    { ...request, action: 'decrement' },
  ];
  const text = JSON.stringify(['request', ...Object.values(request)]);
  const keys = [...requests.map(toRequestKey), toSessionKey('ann', text), toSessionKey(null, text)];
  expect(new Set(keys.map((key) => JSON.stringify(key))).size).toBe(keys.length);
});
