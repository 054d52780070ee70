import type { ErrorCode } from '../../src/protocol/errors.js';

/** An event that a stock client can send and a gateway must reject. */
export interface BadEvent {
  readonly title: string;
  readonly event: string;
  /** Without the acknowledgement. */
  readonly args: readonly unknown[];
  readonly code: ErrorCode;
  /** The beginning of the error message. It is the name of the invalid field, if one is invalid. */
  readonly message: string;
}

/** Every bad event names one of these posts, whose counts must not change. */
export const TARGET = 'target';
export const TARGETS = [TARGET, '__proto__', 'constructor'];

/** As deep as the client's own encoder goes. */
const DEEP = Array.from({ length: 2_000 }).reduce<unknown>((value) => [value], TARGET);

const TOO_LARGE = 'a message has at most 16384 bytes';
const NOT_BINARY = 'the payload must be JSON without binary attachments';
const ONE_OBJECT = 'an event takes exactly one object as its payload';
const THE_PAYLOAD = 'the payload must be one object';

const WRONG_IDS: readonly (readonly [string, unknown])[] = [
  ['no', undefined],
  ['null as', null],
  ['a number as', 42],
  ['a fraction as', 1.5],
  ['true as', true],
  ['a list as', [TARGET]],
  ['an object as', { id: TARGET }],
  ['a list in a list 2,000 deep as', DEEP],
  ['0 characters as', ''],
  ['65 characters as', 'x'.repeat(65)],
  ['a space in', 'tar get'],
  ['a space before', ` ${TARGET}`],
  ['a line end after', `${TARGET}\n`],
  ['a slash in', 'tar/get'],
  ['a comma in', 'tar,get'],
  ['braces in', '{target}'],
  ['a zero byte in', 'target\u0000'],
  ['an umlaut in', 'tärget'],
  ['a full-width letter in', 'ｔarget'],
  ['an emoji in', 'target😀'],
  ['half a character in', 'target\ud800'],
  ['a percent sign in', 'tar%67et'],
];

const WRONG_WHOLE_NUMBERS: readonly (readonly [string, unknown])[] = [
  ['0 as', 0],
  ['-1 as', -1],
  ['1.5 as', 1.5],
  ['2^53 as', 2 ** 53],
  ['-2^53 as', -(2 ** 53)],
  ['1e308 as', 1e308],
  ['5e-324 as', 5e-324],
  ['NaN, which JSON makes null, as', NaN],
  ['null as', null],
  ['a text as', '1'],
  ['true as', true],
  ['a list as', [1]],
  ['an object as', {}],
];

const WRONG_PAYLOADS: readonly (readonly [string, readonly unknown[]])[] = [
  ['no payload', []],
  ['null', [null]],
  ['a text', [TARGET]],
  ['a number', [5]],
  ['true', [true]],
  ['a list', [[{ post: TARGET }]]],
  ['two payloads', [{ post: TARGET }, { post: TARGET }]],
  ['a list in a list 2,000 deep', [DEEP]],
];

function bad(event: string, title: string, args: readonly unknown[], message: string, code?: ErrorCode): BadEvent {
  return { title: `${event}: ${title}`, event, args, message, code: code ?? 'BAD_REQUEST' };
}

function payloads(event: string): BadEvent[] {
  return WRONG_PAYLOADS.map(([title, args]) => bad(event, title, args, args.length === 1 ? THE_PAYLOAD : ONE_OBJECT));
}

function fields(
  event: string,
  rest: Readonly<Record<string, unknown>>,
  name: string,
  wrong: readonly (readonly [string, unknown])[],
): BadEvent[] {
  return wrong.map(([title, value]) =>
    bad(event, `${title} ${name}`, [{ ...rest, [name]: value }], `${name} must be `),
  );
}

function extra(event: string, payload: Readonly<Record<string, unknown>>, names: readonly string[]): BadEvent[] {
  return names.map((name) => {
    const message = `"${name.slice(0, 64)}" is not a field; expected one of: `;
    return bad(event, `a field ${name.slice(0, 12)}`, [{ ...payload, [name]: 1 }], message);
  });
}

const ACTS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  like: {},
  unlike: {},
  view: {},
  add: { metric: 'views' },
  set: { metric: 'likes', on: true },
};

const operations = Object.entries(ACTS).flatMap(([event, rest]) => [
  ...payloads(event),
  ...fields(event, rest, 'post', WRONG_IDS),
  ...fields(event, { post: TARGET, ...rest }, 'seq', WRONG_WHOLE_NUMBERS),
  ...extra(event, { post: TARGET, ...rest }, ['posts', 'actor', 'constructor', 'toString', ' post', 'x'.repeat(1_000)]),
]);

const metrics = [
  ...fields('add', { post: TARGET, metric: 'views' }, 'by', [...WRONG_WHOLE_NUMBERS, ['1001 as', 1001]]),
  ...fields('add', { post: TARGET }, 'metric', [
    ['no', undefined],
    ['null as', null],
    ['a number as', 1],
    ['a toggle as', 'likes'],
    ['the gauge as', 'live'],
    ['counter as', 'counter'],
    ['__proto__ as', '__proto__'],
    ['constructor as', 'constructor'],
    ['0 characters as', ''],
    ['capitals in', 'Views'],
    ['a list as', ['views']],
  ]),
  ...fields('set', { post: TARGET, on: true }, 'metric', [
    ['no', undefined],
    ['a tally as', 'views'],
    ['the gauge as', 'live'],
    ['__proto__ as', '__proto__'],
    ['an object as', {}],
  ]),
  ...fields('set', { post: TARGET, metric: 'likes' }, 'on', [
    ['no', undefined],
    ['null as', null],
    ['a text as', 'true'],
    ['1 as', 1],
    ['0 as', 0],
    ['a list as', [true]],
    ['an object as', {}],
  ]),
  ...extra('like', { post: TARGET }, ['metric', 'by', 'on', 'session']),
  ...extra('set', { post: TARGET, metric: 'likes', on: true }, ['by']),
];

const WRONG_LISTS: readonly (readonly [string, unknown, string])[] = [
  ['no posts', undefined, 'posts must be a list'],
  ['null as posts', null, 'posts must be a list'],
  ['a text as posts', TARGET, 'posts must be a list'],
  ['an object as posts', { 0: TARGET, length: 1 }, 'posts must be a list'],
  ['an empty list', [], 'posts must name at least one post'],
  ['null in the list', [null], 'posts[0] must be '],
  ['a list in the list', [[TARGET]], 'posts[0] must be '],
  ['a list in a list 2,000 deep in the list', [TARGET, DEEP], 'posts[1] must be '],
  ['65 characters in the list', [TARGET, 'x'.repeat(65)], 'posts[1] must be '],
  ['0 characters in the list', [TARGET, TARGET, ''], 'posts[2] must be '],
  ['7,000 numbers', Array<number>(7_000).fill(7), 'posts[0] must be '],
];

const WRONG_KNOWN: readonly (readonly [string, unknown])[] = [
  ['null', null],
  ['a list', [[TARGET, 'e', 1]]],
  ['a text', 'e'],
  ['a version alone', { [TARGET]: 1 }],
  ['an epoch alone', { [TARGET]: ['e'] }],
  ['three items', { [TARGET]: ['e', 1, 2] }],
  ['a number as epoch', { [TARGET]: [1, 1] }],
  ['a text as version', { [TARGET]: ['e', '1'] }],
  ['-1 as version', { [TARGET]: ['e', -1] }],
  ['1.5 as version', { [TARGET]: ['e', 1.5] }],
  ['2^53 as version', { [TARGET]: ['e', 2 ** 53] }],
  ['NaN as version', { [TARGET]: ['e', NaN] }],
  ['an invalid id', { 'tar get': ['e', 1] }],
  ['a wrong version of the id constructor', { [TARGET]: ['e', 1], constructor: 1 }],
];

const MANY = Array.from({ length: 501 }, (_, i) => `many-${i}`);

const subscriptions = [
  ...['subscribe', 'unsubscribe'].flatMap((event) => [
    ...WRONG_LISTS.map(([title, posts, names]) => bad(event, title, [{ posts }], names)),
    ...payloads(event),
    ...extra(event, { posts: [TARGET] }, ['post', 'tickMs']),
    bad(event, '10,000 posts', [{ posts: Array<string>(10_000).fill('a') }], TOO_LARGE, 'PAYLOAD_TOO_LARGE'),
  ]),
  ...WRONG_KNOWN.map(([title, known]) =>
    bad('subscribe', `known: ${title}`, [{ posts: [TARGET], known }], 'known must be an object of { post: [e, v] }'),
  ),
  ...extra('unsubscribe', { posts: [TARGET] }, ['known']),
  bad('subscribe', '501 posts', [{ posts: MANY }], 'a connection watches at most 500 posts', 'TOO_MANY_POSTS'),
];

/** Includes properties of every object, events of socket.io itself, and events that only the gateway sends. */
const UNKNOWN_EVENTS = [
  ...['', 'LIKE', 'like ', 'applaud', 'x'.repeat(1_000), '😀', '{"post":"target"}'],
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'handleConnection'],
  ...['error', 'message', 'connection', 'ping', 'data', 'close'],
  ...['counts', 'mine', 'bye', 'exception'],
];
const unknown = UNKNOWN_EVENTS.map((event) => ({
  ...bad(event, 'is no event', [{ post: TARGET }], 'unknown event; expected one of: '),
  title: `there is no event ${JSON.stringify(event.slice(0, 20))}`,
}));

const BYTES = Buffer.from(TARGET);
const binary = [
  bad('like', 'bytes as payload', [BYTES], NOT_BINARY),
  bad('like', 'bytes as post', [{ post: BYTES }], NOT_BINARY),
  bad('view', 'bytes as an extra field', [{ post: TARGET, cover: BYTES }], NOT_BINARY),
  bad('add', 'bytes as by', [{ post: TARGET, metric: 'views', by: BYTES }], NOT_BINARY),
  bad('subscribe', 'two ids in bytes', [{ posts: [BYTES, BYTES] }], NOT_BINARY),
  bad('subscribe', '100 ids in bytes', [{ posts: Array<Buffer>(100).fill(BYTES) }], NOT_BINARY),
  bad('unsubscribe', 'no bytes at all', [{ posts: [Buffer.alloc(0)] }], NOT_BINARY),
  bad('like', '150 KB of bytes', [{ post: Buffer.alloc(150_000) }], NOT_BINARY),
];

const large = [
  bad('like', 'an id of 20,000 characters', [{ post: 'x'.repeat(20_000) }], TOO_LARGE, 'PAYLOAD_TOO_LARGE'),
  bad('like', '18,000 bytes in 6,000 characters', [{ post: '€'.repeat(6_000) }], TOO_LARGE, 'PAYLOAD_TOO_LARGE'),
  bad('set', '200,000 bytes', [{ post: TARGET, metric: 'x'.repeat(200_000) }], TOO_LARGE, 'PAYLOAD_TOO_LARGE'),
  bad(
    'subscribe',
    'bytes beside 20,000 characters',
    [{ posts: ['x'.repeat(20_000), BYTES] }],
    TOO_LARGE,
    'PAYLOAD_TOO_LARGE',
  ),
];

/** By group. */
export const BAD_EVENTS: Readonly<Record<string, readonly BadEvent[]>> = {
  operations,
  metrics,
  subscriptions,
  'unknown events': unknown,
  'binary attachments': binary,
  'messages over 16 KiB': large,
};
