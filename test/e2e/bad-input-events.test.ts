import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { postEvents, readCount, toAnswer } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { countOperations, readMetrics } from '../support/metrics.js';
import { requestRaw } from '../support/raw-request.js';

const JSON_TYPE = { 'Content-Type': 'application/json' };
const TEXT = { 'Content-Type': 'text/plain' };
const BYTES_MAX = 262_144;
const SESSION = randomUUID();
const BODY = /^the body must be JSON in UTF-8/;
const POST = /^events\[0\]: post must be a string of 1 to 64 characters/;

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ METRICS: 'likes:toggle,views:tally,shares:tally' });
});

afterAll(stopAll);

function rejection(message: string | RegExp, status = 400, code = 'BAD_REQUEST'): object {
  return { status, body: { code, message: expect.stringMatching(message) as unknown, retryable: false } };
}

const event = (fields: object) => ({ events: [{ post: 'target', ...fields }] });

describe('a request that nothing can be read from', () => {
  it.each<[string, Record<string, string>, string | Uint8Array, RegExp | string]>([
    ['no body', JSON_TYPE, '', BODY],
    ['half of JSON', JSON_TYPE, '{"events":[', BODY],
    ['lines declared as JSON', JSON_TYPE, '{"post":"target"}\n{"post":"target"}', BODY],
    ['a byte that is not UTF-8', TEXT, Buffer.concat([Buffer.from('[{"post":"target"}]'), Buffer.of(0xff)]), BODY],
    ['no body of lines', TEXT, '', /^events must|^the body must/],
    ['lines that are no JSON', TEXT, 'a\nb\n', BODY],
    ['one event declared as JSON', JSON_TYPE, '{"post":"target"}', 'events must be a list of 1 to 500 events'],
    ['a number', JSON_TYPE, '5', 'the payload must be one object'],
    ['null', JSON_TYPE, 'null', 'the payload must be one object'],
    ['null as text', TEXT, 'null', /^events\[0\]: the payload must be one object/],
    ['a list of texts', JSON_TYPE, '["target"]', /^events\[0\]: the payload must be one object/],
    [
      'deep lists',
      JSON_TYPE,
      '['.repeat(100_000) + ']'.repeat(100_000),
      /^events\[0\]: the payload must be one object/,
    ],
    ['no events', JSON_TYPE, '[]', 'events must have 1 to 500 events'],
    ['events as text', JSON_TYPE, '{"events":"target"}', 'events must be a list of 1 to 500 events'],
    ['501 events', JSON_TYPE, JSON.stringify(Array(501).fill({ post: 'target' })), 'events must have 1 to 500 events'],
    ['501 lines', TEXT, '{"post":"target"}\n'.repeat(501), 'events must have 1 to 500 events'],
    ['events in __proto__', JSON_TYPE, '{"__proto__":{"events":[{"post":"target"}]}}', /events/],
    ['an unknown field', JSON_TYPE, '{"events":[{"post":"target"}],"posts":1}', '"posts" is not a field'],
    ['a number as token', JSON_TYPE, '{"events":[{"post":"target"}],"token":1}', 'token must be a string'],
    ['no actor', JSON_TYPE, '{"events":[{"post":"target"}],"actor":""}', 'actor must be a string of 1 to 128'],
    [
      'half a character as actor',
      JSON_TYPE,
      '{"events":[{"post":"target"}],"actor":"\\ud800"}',
      'actor must be well-formed',
    ],
    [
      'a short session',
      JSON_TYPE,
      '{"events":[{"post":"target"}],"session":"7chars!"}',
      'session must be a string of 8 to',
    ],
  ])('a request with %s is rejected', async (_title, headers, body, message) => {
    expect(await postEvents(gateway.url, body, headers)).toMatchObject(rejection(message));
  });

  it('a header and a field that differ are rejected, and both are named', async () => {
    const actors = await postEvents(gateway.url, { actor: 'ada', ...event({}) }, { ...JSON_TYPE, 'Actor-Id': 'grace' });
    expect(actors).toMatchObject(rejection('actor and Actor-Id must be the same'));
    const headers = { ...JSON_TYPE, Authorization: 'Bearer one' };
    const tokens = await postEvents(gateway.url, { token: 'two', ...event({}) }, headers);
    expect(tokens).toMatchObject(rejection('token and Authorization must be the same'));
    const equal = await postEvents(
      gateway.url,
      { actor: 'ada', ...event({ post: 'equal' }) },
      { ...JSON_TYPE, 'Actor-Id': 'ada' },
    );
    expect(equal.status).toBe(202);
  });

  it('a compressed body is rejected', async () => {
    const headers = { ...JSON_TYPE, 'Content-Encoding': 'gzip' };
    expect(await postEvents(gateway.url, event({}), headers)).toMatchObject(
      rejection('Content-Encoding must be identity'),
    );
  });

  it('a body over 256 KiB is rejected, with its length declared or without, and one of 256 KiB is not', async () => {
    const tooLarge = rejection('a body of events has at most 262144 bytes', 413, 'PAYLOAD_TOO_LARGE');
    const text = JSON.stringify(event({})).padEnd(BYTES_MAX + 1);
    expect(await postEvents(gateway.url, text)).toMatchObject(tooLarge);
    const headers = { ...JSON_TYPE, 'Transfer-Encoding': 'chunked' };
    const { status, body } = await requestRaw(`${gateway.url}/v1/events`, headers, { method: 'POST', body: text });
    expect({ status, body: JSON.parse(body) as unknown }).toMatchObject(tooLarge);
    const largest = JSON.stringify(event({ post: 'largest' })).padEnd(BYTES_MAX);
    expect(await postEvents(gateway.url, largest)).toMatchObject({ status: 202 });
  });
});

describe('an event that does not fit', () => {
  it.each<[object, string | RegExp]>([
    [{ post: undefined }, POST],
    [{ post: 42 }, POST],
    [{ post: 'no spaces' }, POST],
    [{ post: '..' }, POST],
    [{ post: 'target\n' }, POST],
    [{ metric: 1 }, 'metric must be the name of a metric'],
    [{ metric: 'claps' }, 'metric must be one of: likes, views, shares'],
    [{ metric: 'live' }, 'metric must be one of: likes, views, shares'],
    [{ metric: 'counter' }, 'metric must be one of: likes, views, shares'],
    [{ metric: '__proto__' }, 'metric must be one of: likes, views, shares'],
    [{ by: 0 }, 'by must be a whole number from 1 to 1000'],
    [{ by: 1001 }, 'by must be a whole number from 1 to 1000'],
    [{ by: 1.5 }, 'by must be a whole number from 1 to 1000'],
    [{ by: '1' }, 'by must be a whole number from 1 to 1000'],
    [{ on: true }, 'on must be left out: views is a tally'],
    [{ metric: 'likes', on: 1 }, 'on must be true or false'],
    [{ metric: 'likes', by: 1 }, 'by must be left out: likes is a toggle'],
    [{ key: '7chars!' }, 'key must have 8 to 64 characters'],
    [{ key: 'x'.repeat(65) }, 'key must have 8 to 64 characters'],
    [{ key: 12_345_678 }, 'key must have 8 to 64 characters'],
    [{ key: 'eight\ud800ish' }, 'key must be well-formed Unicode'],
    [{ seq: 0 }, 'seq must be a whole number from 1'],
    [{ seq: 2 ** 53 }, 'seq must be a whole number from 1'],
    [{ seq: 1 }, 'seq needs a session'],
    [{ colour: 'red' }, /"colour" is not a field; expected one of: post, metric, by, on, key, seq/],
  ])('an event with %j is rejected by the name of its field', async (fields, message) => {
    const answer = await postEvents(gateway.url, event(fields));
    expect(answer).toMatchObject(rejection(message instanceof RegExp ? message : `^events\\[0\\]: ${message}`));
  });

  it('seq excludes a key, and must not fall', async () => {
    const both = await postEvents(gateway.url, { session: SESSION, ...event({ seq: 1, key: 'a-key-of-it' }) });
    expect(both).toMatchObject(rejection('seq must not come with a key'));
    const seqs = [2, 2, 1, 3].map((seq) => ({ post: 'falling', seq }));
    expect(await postEvents(gateway.url, { session: SESSION, events: seqs })).toMatchObject({
      status: 202,
      body: {
        accepted: 3,
        rejected: [{ index: 2, error: { message: expect.stringContaining('seq must not be below') } }],
      },
    });
    expect(await readCount(gateway.url, 'falling', 'views')).toBe(2);
  });
});

describe('POST /view and the picture', () => {
  it.each([
    ['/view', 'post must be'],
    ['/view?post=a%20b', 'post must be'],
    ['/view?post=target&post=target', 'post must be'],
    ['/view?post=target&metric=likes', 'metric must be one of the tallies: views, shares'],
    ['/view?post=target&metric=live', 'metric must be one of the tallies: views, shares'],
    ['/view?post=target&metric=views&metric=views', 'metric must be one of the tallies: views, shares'],
  ])('POST %s is rejected', async (path, message) => {
    expect(await toAnswer(await fetch(gateway.url + path, { method: 'POST' }))).toMatchObject(rejection(message));
  });

  it('a view with too short a key is rejected', async () => {
    const init = { method: 'POST', headers: { 'Idempotency-Key': 'short' } };
    const answer = await toAnswer(await fetch(`${gateway.url}/view?post=target`, init));
    expect(answer).toMatchObject(rejection('Idempotency-Key must have 8 to 64 characters'));
  });

  it.each(['likes', 'counter', 'live', 'claps', 'views.gif'])('GET /v1/target/%s.gif is rejected', async (metric) => {
    for (const headers of [{}, { 'Sec-Purpose': 'prefetch' }]) {
      const answer = await toAnswer(await fetch(`${gateway.url}/v1/target/${metric}.gif`, { headers }));
      expect(answer).toMatchObject(rejection('metric must be one of the tallies: views, shares'));
    }
  });
});

it('no rejected event was counted, and the metrics count each of them', async () => {
  for (const metric of ['likes', 'views', 'shares']) expect(await readCount(gateway.url, 'target', metric)).toBe(0);
  const before = await readMetrics(gateway.url);
  await postEvents(gateway.url, [{ post: 'a b' }, { post: 'c d' }]);
  const unknown = 'tallycast_operations_total{kind="unknown",result="BAD_REQUEST"}';
  const after = await readMetrics(gateway.url);
  expect(after.get(unknown)! - before.get(unknown)!).toBe(2);
  expect(countOperations(after, 'PAYLOAD_TOO_LARGE')).toBe(2);
});
