import fc from 'fast-check';
import { listText, mostly, objectText, oddJson } from './json-texts.js';
import { mutated } from './mutations.js';
import { POSTS } from './packets.js';

const LINE = '\r\n';
const LONG = 20_000;
const REQUESTS_MAX = 4;

const METHODS = ['GET', 'PUT', 'POST', 'HEAD', 'OPTIONS', 'DELETE', 'PATCH', 'TRACE', 'PROPFIND', 'get', 'G ET', ''];
const ODD_PATHS = [
  ...['/', '//', '/..', '/v1', '/v1/', '/v1//likes', '/v1/%/likes', '/v1/%ff/likes', '/v1/%00/likes', '/v1/../healthz'],
  ...['/v1/..%2f..%2fetc%2fpasswd/likes', '/docs', '/docs/../../package.json', '/client.js', '/socket.io', '*', 'fuzz'],
  ...['http://elsewhere.example/v1/fuzz/likes', '/v1/counts', '/v1/regions', '/v1/replication/deltas', '/\\'],
  `/v1/${'x'.repeat(LONG)}/likes`,
];
const ODD_HEADERS = [
  ...['Content-Length: -1', 'Content-Length: 1e3', 'Content-Length: 99999999999999999999', 'Content-Length: 0x10'],
  ...['Content-Length: 1\r\nContent-Length: 2', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked, identity'],
  ...['Transfer-Encoding: xchunked', 'Transfer-Encoding : chunked', 'Content-Encoding: gzip', 'Content-Encoding: br'],
  ...[
    'Content-Encoding: deflate',
    'Content-Type: application/json; charset=utf-7',
    'Content-Type: \x00',
    'Content-Type:',
  ],
  ...[
    'Accept-Encoding: gzip;q=-1, *;q=NaN',
    'Accept-Encoding: ,,,',
    'Accept: *',
    'Range: bytes=0-1,-5',
    'If-Match: "x"',
  ],
  ...[
    'If-None-Match: *',
    'If-Modified-Since: never',
    'Origin: null',
    'Origin: http://[',
    'Origin: https://elsewhere.example',
  ],
  ...['Host:', 'Host: a\r\nHost: b', 'Host: [::1', 'X-Forwarded-For: 1.2.3.4:5, [::1]:6, unknown'],
  ...[
    'Authorization: Bearer',
    'Authorization: Bearer a.b.c',
    'Authorization: Basic \xff',
    'Actor-Id: \xc3\x28',
    'Actor-Id:',
  ],
  ...[
    'Idempotency-Key: short',
    'Cookie: __proto__=1',
    '__proto__: x',
    ': x',
    'no colon',
    ' folded',
    '\0: \0',
    'X: \x7f\xff',
  ],
  ...['Access-Control-Request-Method: PUT', 'Last-Event-ID: 1', `X-Long: ${'x'.repeat(LONG)}`],
];

const post = fc.constantFrom(...POSTS);
const metric = fc.constantFrom('views', 'views', 'likes', 'counter', 'live', 'Likes', '__proto__', 'constructor');
const posts = fc
  .array(
    fc.oneof({ weight: 9, arbitrary: post }, { weight: 1, arbitrary: fc.constantFrom('', ' ', '%', '%00', 'a/b') }),
    {
      maxLength: 4,
    },
  )
  .map((ids) => ids.join(','));
const query = fc.oneof(
  { weight: 6, arbitrary: fc.constant('') },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...['?', '?consistency=all', '?consistency=local', '?consistency[]=all', '?consistency=all&consistency=all'],
      ...['?__proto__=1', '?%', '?posts=fuzz', '?a[b]=c', `?${'a=b&'.repeat(1_500)}`],
    ),
  },
);

const path = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(post, metric, query).map(([id, name, rest]) => `/v1/${id}/${name}${rest}`) },
  { weight: 2, arbitrary: posts.map((list) => `/v1/counts?posts=${list}`) },
  { weight: 1, arbitrary: fc.constantFrom(...ODD_PATHS) },
  { weight: 1, arbitrary: fc.constantFrom('/healthz', '/readyz', '/metrics', '/v1/regions') },
);

const body = fc.oneof(
  { weight: 3, arbitrary: objectText([['action', 10, fc.constantFrom('"increment"', '"decrement"')]]) },
  { weight: 1, arbitrary: oddJson },
  { weight: 1, arbitrary: mostly(fc.constant('')) },
);

const headers = fc.array(
  fc.oneof(
    { weight: 1, arbitrary: fc.constantFrom(...ODD_HEADERS) },
    {
      weight: 9,
      arbitrary: fc.constantFrom('Actor-Id: ada', 'Idempotency-Key: a-key-of-the-fuzz', 'Accept-Encoding: gzip'),
    },
  ),
  { maxLength: 2 },
);

const version = fc.oneof(
  { weight: 9, arbitrary: fc.constant('HTTP/1.1') },
  { weight: 1, arbitrary: fc.constantFrom('HTTP/1.0', 'HTTP/2.0', 'HTTP/9', 'http/1.1', '') },
);

const event = objectText([
  ['post', 10, post.map((id) => JSON.stringify(id))],
  ['metric', 5, metric.map((name) => JSON.stringify(name))],
  ['by', 2, fc.constantFrom('1', '3', '1000')],
  ['on', 2, fc.constantFrom('true', 'false')],
  ['key', 2, fc.constantFrom('"a-key-of-the-fuzz"', '"short"')],
  ['seq', 2, fc.constantFrom('1', '2', '0')],
]);
const eventBody = fc.oneof(
  listText(event, 5),
  fc.array(event, { maxLength: 5 }).map((lines) => lines.join('\n')),
  objectText([
    ['events', 10, listText(event, 5)],
    ['session', 5, fc.constantFrom('"session-of-the-fuzz"', '"short"')],
    ['actor', 3, fc.constantFrom('"ada"', '""')],
    ['token', 1, fc.constantFrom('"a.b.c"')],
  ]),
);
const eventPath = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('/v1/events', '/v1/events/', '/V1/Events?x=y') },
  { weight: 1, arbitrary: fc.tuple(post, metric).map(([id, name]) => `/view?post=${id}&metric=${name}`) },
  { weight: 1, arbitrary: fc.tuple(post, metric).map(([id, name]) => `/v1/${id}/${name}.gif`) },
);

function requestFor(method: fc.Arbitrary<string>, to: fc.Arbitrary<string>, content = body): fc.Arbitrary<Buffer> {
  return fc.tuple(method, to, version, headers, content).map(([verb, address, protocol, fields, text]) => {
    const hasBody = verb !== 'GET' && verb !== 'HEAD';
    const length = hasBody ? [`Content-Length: ${Buffer.byteLength(text)}`] : [];
    const head = [`${verb} ${address} ${protocol}`, 'Host: fuzz', ...fields, ...length].join(LINE);
    return Buffer.from(`${head}${LINE}${LINE}${hasBody ? text : ''}`, 'latin1');
  });
}

const method = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('GET', 'PUT') },
  { weight: 1, arbitrary: fc.constantFrom(...METHODS) },
);
const request = fc.oneof(
  { weight: 3, arbitrary: requestFor(method, path) },
  { weight: 1, arbitrary: requestFor(fc.constantFrom('POST', 'POST', 'GET'), eventPath, eventBody) },
);

/** Requests of one connection, one after the other, some of them changed anywhere. */
export const requests: fc.Arbitrary<readonly Buffer[]> = fc.array(
  fc.oneof({ weight: 5, arbitrary: request }, { weight: 1, arbitrary: mutated(request) }),
  { minLength: 1, maxLength: REQUESTS_MAX },
);

/** A request for an event stream whose client closes at once. */
export const streamRequests: fc.Arbitrary<Buffer> = mutated(
  requestFor(
    fc.constantFrom('GET', 'GET', 'GET', 'HEAD'),
    fc
      .tuple(posts, fc.constantFrom('', '&posts=fuzz', '&token=x', '&actor=%ff', '#x'))
      .map((pieces) => `/v1/stream?posts=${pieces.join('')}`),
  ),
);
