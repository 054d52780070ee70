import type { OpenAPIV3_1 } from 'openapi-types';
import { METRIC_KINDS, type MetricKind } from '../../counters/metric-kinds.js';
import type { Metrics } from '../../counters/metrics.js';

type Paths = Record<string, OpenAPIV3_1.PathItemObject>;
type Operation = NonNullable<Paths[string]['get']>;
type Response = NonNullable<Operation['responses']['default']>;

const JSON_TYPE = 'application/json';
const POSTS = { $ref: '#/components/parameters/posts' };
const CONSISTENCY = { $ref: '#/components/parameters/consistency' };

export function buildPaths(metrics: Metrics): Paths {
  return {
    '/v1/{post}/{metric}': {
      parameters: [{ $ref: '#/components/parameters/post' }],
      get: readOne(metrics),
      put: act(metrics),
    },
    '/v1/counts': { get: readSeveral() },
    '/v1/stream': { get: stream() },
    '/v1/regions': { get: regions() },
    '/healthz': { get: probe('Whether the process lives', { 200: answer('It does.', 'Status') }) },
    '/readyz': {
      get: probe('Whether it should get traffic', {
        200: answer('It should.', 'Status'),
        503: answer('Not now: the store is away or being filled, or the gateway is closing.', 'Status'),
      }),
    },
    '/metrics': { get: probe('How it is doing', { 200: text('Metrics in the format of Prometheus.', 'text/plain') }) },
    '/docs': { get: probe('This documentation, as a page', { 200: text('A page.', 'text/html') }) },
    '/docs-json': { get: probe('This documentation, as JSON', { 200: text('An OpenAPI 3.1 document.', JSON_TYPE) }) },
  };
}

function readOne(metrics: Metrics): Operation {
  return {
    tags: ['counters'],
    operationId: 'readCount',
    summary: 'One count of one post',
    description: '`counter` is another name of `likes`; `live` counts the connections that watch the post now.',
    parameters: [metricParameter(['counter', ...metrics.list.map(({ name }) => name), 'live']), CONSISTENCY],
    responses: {
      200: answer('The count; 0 for a post that is not known.', 'Count'),
      ...errors(400, 401, 403, 429, 503),
    },
  };
}

function act(metrics: Metrics): Operation {
  const kinds = METRIC_KINDS.filter((kind) => metrics.list.some((metric) => metric.kind === kind));
  return {
    tags: ['counters'],
    operationId: 'act',
    summary: 'Count up or down',
    description: [
      'Answered when it is committed and durable.',
      ...kinds.map((kind) => describeKind(kind, metrics)),
    ].join(' '),
    parameters: [
      metricParameter(['counter', ...metrics.list.map(({ name }) => name)]),
      { $ref: '#/components/parameters/actorId' },
      { $ref: '#/components/parameters/idempotencyKey' },
    ],
    requestBody: { required: true, content: { [JSON_TYPE]: { schema: { $ref: '#/components/schemas/Action' } } } },
    responses: { 200: answer('The count after it.', 'Count'), ...errors(400, 401, 403, 413, 429, 503) },
  };
}

function readSeveral(): Operation {
  return {
    tags: ['counters'],
    operationId: 'readCounts',
    summary: 'All counts of several posts',
    description: 'In the order asked; a post that is named twice comes once.',
    parameters: [POSTS, CONSISTENCY],
    responses: { 200: answer('The counts.', 'Counts'), ...errors(400, 401, 403, 429, 503) },
  };
}

function stream(): Operation {
  return {
    tags: ['stream'],
    operationId: 'streamCounts',
    summary: 'Counts of several posts, whenever they change',
    description:
      'Server-Sent Events. `counts`: an array of updates, first a snapshot of all posts, then at most one event a tick ' +
      'with those that changed. `bye`: the gateway is about to end the stream; come back after `retryAfterMs`. ' +
      'A comment line comes as a heartbeat. An open stream counts in `live`.',
    parameters: [POSTS, { $ref: '#/components/parameters/actorId' }],
    responses: {
      200: {
        description: 'Events, until either side ends the stream.',
        content: {
          'text/event-stream': {
            schema: { type: 'string' },
            example:
              'event: counts\ndata: [{"post":"42","e":"local.1.k9","v":4,"likes":3,"views":1,"live":1,"d":{"likes":1}}]\n\n',
          },
        },
      },
      ...errors(400, 401, 403, 429, 503),
    },
  };
}

function regions(): Operation {
  return {
    tags: ['operation'],
    operationId: 'readRegions',
    summary: 'The other regions, and how the links to them are doing',
    description: 'As this gateway sees them. Without `PEERS` there are none.',
    responses: { 200: answer('The regions.', 'Regions'), ...errors(401, 403, 429) },
  };
}

function probe(summary: string, responses: Operation['responses']): Operation {
  return { tags: ['operation'], summary, security: [], responses };
}

function metricParameter(values: string[]) {
  return { name: 'metric', in: 'path' as const, required: true, schema: { type: 'string' as const, enum: values } };
}

function describeKind(kind: MetricKind, { list }: Metrics): string {
  const names = list.filter((metric) => metric.kind === kind).map(({ name }) => `\`${name}\``);
  return `A ${kind.name} (${names.join(', ')}) ${kind.effect}.`;
}

function answer(description: string, schema: string): Response {
  return { description, content: { [JSON_TYPE]: { schema: { $ref: `#/components/schemas/${schema}` } } } };
}

function text(description: string, type: string): Response {
  return { description, content: { [type]: { schema: { type: type === JSON_TYPE ? 'object' : 'string' } } } };
}

function errors(...statuses: number[]): Operation['responses'] {
  return Object.fromEntries(statuses.map((status) => [status, { $ref: `#/components/responses/${status}` }]));
}
