import type { OpenAPIV3_1 } from 'openapi-types';
import {
  ACTION,
  ACTOR_ID,
  CONSISTENCY,
  EVENT,
  EVENT_LIST,
  IDEMPOTENCY_KEY,
  POST_ID,
  PRESENT,
} from '../../protocol/http-request-schemas.js';
import { EVENTS_MAX, POST_RULE } from '../../protocol/limits.js';
import type { Metrics } from '../../counters/metrics.js';
import { type ErrorCode, HTTP_STATUS } from '../../protocol/errors.js';
import { milestoneSchemas, REACHED } from './milestone-schemas.js';
import { toSchema } from './to-schema.js';

type Components = NonNullable<OpenAPIV3_1.Document['components']>;
type Schemas = NonNullable<Components['schemas']>;

const POST = toSchema(POST_ID);
const COUNT = {
  type: 'integer',
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  examples: [808],
} satisfies Schemas[string];
const UPDATED_AT = {
  type: ['string', 'null'],
  format: 'date-time',
  description: 'When the post last changed, in UTC; `null` for an unknown post.',
} satisfies Schemas[string];

const ON = {
  type: 'boolean',
  description: 'Only with an actor, of a toggle or a choice: whether it is on',
} satisfies Schemas[string];
const APPLIED = {
  type: 'boolean',
  description: 'Only with an actor: whether this request changed the count',
} satisfies Schemas[string];
const MINE = {
  type: 'array',
  items: { type: 'string' },
  description: 'Only with an actor: the toggles and choices that are on',
} satisfies Schemas[string];

/** The meaning of each status. */
const MEANINGS: Readonly<Record<number, string>> = {
  400: 'The request is wrong, and `message` names the field; or it names too many posts.',
  401: 'The token is missing, invalid or expired.',
  403: 'The origin is rejected, or the gateway has no `ADMIN_TOKEN`.',
  409: 'The request is right, and what is stored excludes it: `message` says what.',
  413: 'The body is over 16 KiB, or 256 KiB of events.',
  429: 'Over a limit.',
  503: 'The request had no effect (`OVERLOADED`), or the store did not respond in time (`UNAVAILABLE`): the outcome is unknown, so retry with the same key.',
};

export function buildComponents(metrics: Metrics): Components {
  return {
    securitySchemes: {
      token: {
        type: 'http',
        scheme: 'bearer',
        bearerFormat: 'JWT',
        description:
          'Where the gateway verifies tokens: required for writes, with `REQUIRE_TOKEN_TO_READ` also for reads. Its `sub` is the actor.',
      },
      adminToken: { type: 'http', scheme: 'bearer', description: '`ADMIN_TOKEN` of the gateway.' },
    },
    parameters: parameters(),
    schemas: schemas(metrics),
    responses: responses(),
  };
}

function parameters(): NonNullable<Components['parameters']> {
  return {
    post: { name: 'post', in: 'path', required: true, description: POST_RULE, schema: POST, example: '42' },
    postInQuery: {
      name: 'post',
      in: 'query',
      required: true,
      description: POST_RULE,
      schema: POST,
      example: '42',
    },
    posts: {
      name: 'posts',
      in: 'query',
      required: true,
      description: 'Ids of posts, separated by commas',
      style: 'form',
      explode: false,
      schema: { type: 'array', items: POST, minItems: 1 },
      example: ['42', '43'],
    },
    consistency: {
      name: 'consistency',
      in: 'query',
      description:
        '`local`: what this region has. `all`: every other region is read first, which takes at least a round trip to the ' +
        'farthest; if one does not respond, `UNAVAILABLE` names it.',
      schema: toSchema(CONSISTENCY),
    },
    present: {
      name: 'present',
      in: 'query',
      description: 'Whether the stream counts in `live` of its posts',
      schema: toSchema(PRESENT),
    },
    ...actorParameters(),
    idempotencyKey: {
      name: 'Idempotency-Key',
      in: 'header',
      description: 'New and random for each request that may be retried: retries with the same key take effect once',
      schema: toSchema(IDEMPOTENCY_KEY),
    },
  };
}

function actorParameters(): NonNullable<Components['parameters']> {
  return {
    actorId: {
      name: 'Actor-Id',
      in: 'header',
      description: 'The actor, without tokens',
      schema: toSchema(ACTOR_ID),
    },
    actorInQuery: {
      name: 'actor',
      in: 'query',
      description: 'As `Actor-Id`, for an EventSource, which has no headers',
      schema: toSchema(ACTOR_ID),
    },
    tokenInQuery: {
      name: 'token',
      in: 'query',
      description:
        'As `Authorization: Bearer`, for an EventSource. Use tokens that expire soon: proxies may log queries',
      schema: { type: 'string' },
    },
  };
}

function schemas(metrics: Metrics): Schemas {
  const totals = Object.fromEntries(
    metrics.list.map(({ name, kind }) => [name, { ...COUNT, description: `A ${kind.name}` }]),
  );
  const live = { ...COUNT, description: 'The people who watch the post now, or connections with `LIVE=connections`' };
  const post = { post: POST, ...totals, live, updated_at: UPDATED_AT };
  return {
    Action: toSchema(ACTION),
    Event: toSchema(EVENT),
    Events: events(),
    AcceptedEvents: acceptedEvents(),
    Count: {
      type: 'object',
      required: ['count', 'updated_at'],
      properties: { count: COUNT, updated_at: UPDATED_AT, on: ON },
    },
    CountAfter: {
      type: 'object',
      required: ['count', 'updated_at'],
      properties: { count: COUNT, updated_at: UPDATED_AT, on: ON, applied: APPLIED, reached: REACHED },
    },
    PostCounts: { type: 'object', required: Object.keys(post), properties: { ...post, mine: MINE } },
    Counts: {
      type: 'object',
      required: ['counts'],
      properties: { counts: { type: 'array', items: { $ref: '#/components/schemas/PostCounts' } } },
    },
    ...milestoneSchemas(),
    Regions: {
      type: 'object',
      required: ['region', 'peers'],
      properties: {
        region: { type: 'string', description: 'The own region', examples: ['eu'] },
        peers: { type: 'array', items: { $ref: '#/components/schemas/Peer' } },
      },
    },
    Peer: peer(),
    Done: done({}),
    RetriedRows: done({ rows: { type: 'integer', minimum: 0, description: 'Rejected rows' } }),
    SinkNames: done({ sinks: { type: 'array', items: { type: 'string' }, description: 'Their names' } }),
    Status: { type: 'object', required: ['status'], properties: { status: { type: 'string' } } },
    Error: {
      type: 'object',
      required: ['code', 'message', 'retryable'],
      properties: {
        code: { type: 'string', enum: Object.keys(HTTP_STATUS) },
        message: { type: 'string', description: 'What was wrong, and what would be right' },
        retryable: { type: 'boolean', description: 'Whether the same request, sent again later, can succeed' },
        retryAfterMs: { type: 'integer', minimum: 0, description: 'Milliseconds to wait before that' },
      },
    },
  };
}

function events(): Schemas[string] {
  const list = toSchema(EVENT_LIST);
  const items = { $ref: '#/components/schemas/Event' };
  const withEvents = { ...list, properties: { ...list.properties, events: { ...list.properties!['events'], items } } };
  return { anyOf: [withEvents, { type: 'array', items, minItems: 1, maxItems: EVENTS_MAX }] };
}

function acceptedEvents(): Schemas[string] {
  const index = {
    type: 'integer' as const,
    minimum: 0,
    description: 'The position of the event in the request, from 0',
  };
  const properties = { index, error: { $ref: '#/components/schemas/Error' } };
  return {
    type: 'object',
    required: ['accepted', 'rejected'],
    properties: {
      accepted: { ...index, description: 'Events that are counted, duplicates among them' },
      rejected: { type: 'array', items: { type: 'object', required: Object.keys(properties), properties } },
    },
  };
}

function done(properties: Schemas): Schemas[string] {
  const all = { done: { type: 'boolean' as const, const: true }, ...properties };
  return { type: 'object', required: Object.keys(all), properties: all };
}

function peer(): Schemas[string] {
  const number = (description: string): Schemas[string] => ({ type: 'integer', minimum: 0, description });
  const properties: Schemas = {
    region: { type: 'string', examples: ['us'] },
    up: { type: 'boolean', description: 'Whether the last call succeeded' },
    since: {
      type: ['string', 'null'],
      format: 'date-time',
      description: 'Since when, in UTC; `null`: not called yet',
    },
    error: {
      type: 'string',
      description: 'Error of the last failed call; while it is up, which buckets it rejects; else empty',
    },
    lagSeconds: unlessUnknown('Age of the oldest change that it lacks; 0 if it has all', 'number'),
    lagChanges: unlessUnknown('Changed posts and toggles that it lacks', 'integer'),
    rejectedDeltas: number('Since boot: deltas that it rejected, because their incarnation is over'),
    incarnationsStarted: number('Since boot: incarnations of buckets started because it had seen a later one'),
    fullSyncs: number('Since boot: full syncs to it'),
    rejectedBuckets: number('Buckets that it rejects now: stamps ahead of its clock, or impossible counts'),
    rejections: number('Since boot: its deltas that were rejected here, for the same reasons'),
  };
  return { type: 'object', required: Object.keys(properties), properties };
}

/** `null` after a start and during a full sync, because it is unknown then what the region has. */
function unlessUnknown(description: string, type: 'integer' | 'number'): Schemas[string] {
  return {
    type: [type, 'null'],
    minimum: 0,
    description: `${description}; \`null\`: unknown`,
  };
}

function responses(): NonNullable<Components['responses']> {
  return Object.fromEntries(
    Object.entries(MEANINGS).map(([status, meaning]) => {
      const codes = Object.keys(HTTP_STATUS).filter((code) => HTTP_STATUS[code as ErrorCode] === Number(status));
      const mayWait = status === '429' || status === '503';
      return [
        status,
        {
          description: `${codes.map((code) => `\`${code}\``).join(' or ')}. ${meaning}`,
          ...(mayWait && { headers: { 'Retry-After': { description: 'Seconds', schema: { type: 'integer' } } } }),
          content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
        },
      ];
    }),
  );
}
