import type { OpenAPIV3_1 } from 'openapi-types';
import { ACTOR_MAX, KEY_MAX, KEY_MIN, POST_PATTERN, POST_RULE } from '../../protocol/limits.js';
import type { Metrics } from '../../counters/metrics.js';
import { type ErrorCode, HTTP_STATUS } from '../../protocol/errors.js';

type Components = NonNullable<OpenAPIV3_1.Document['components']>;
type Schemas = NonNullable<Components['schemas']>;

const POST = { type: 'string', pattern: POST_PATTERN.source } as const;
const COUNT = {
  type: 'integer',
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  examples: [808],
} satisfies Schemas[string];
const UPDATED_AT = {
  type: ['string', 'null'],
  format: 'date-time',
  description: 'When the post last changed, in UTC; `null` for a post that is not known.',
} satisfies Schemas[string];

/** The meaning of each status. */
const MEANINGS: Readonly<Record<number, string>> = {
  400: 'Something does not fit, and `message` names it; or too many posts were named.',
  401: 'The token is missing, invalid or expired.',
  403: 'The origin is refused.',
  413: 'The body is over 16 KiB.',
  429: 'Over a limit.',
  503: 'Nothing was done (`OVERLOADED`), or the store did not answer in time (`UNAVAILABLE`): whether anything was counted is not known, so retry with the same key.',
};

export function buildComponents(metrics: Metrics): Components {
  return {
    securitySchemes: {
      token: {
        type: 'http',
        scheme: 'bearer',
        bearerFormat: 'JWT',
        description:
          'Needed to act, and on a private gateway to watch, where tokens are verified. Its `sub` is the actor.',
      },
    },
    parameters: parameters(),
    schemas: schemas(metrics),
    responses: responses(),
  };
}

function parameters(): NonNullable<Components['parameters']> {
  return {
    post: { name: 'post', in: 'path', required: true, description: POST_RULE, schema: POST, example: '42' },
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
        '`local`: what this region knows. `all`: every other region is asked first, which takes at least a round trip to the ' +
        'farthest; if one does not answer, `UNAVAILABLE` names it.',
      schema: { type: 'string', enum: ['local', 'all'], default: 'local' },
    },
    actorId: {
      name: 'Actor-Id',
      in: 'header',
      description: 'Who acts, where there are no tokens',
      schema: { type: 'string', minLength: 1, maxLength: ACTOR_MAX },
    },
    idempotencyKey: {
      name: 'Idempotency-Key',
      in: 'header',
      description:
        'New and random for each request that may be repeated: its retries with the same key take effect once',
      schema: { type: 'string', minLength: KEY_MIN, maxLength: KEY_MAX },
    },
  };
}

function schemas(metrics: Metrics): Schemas {
  const totals = Object.fromEntries(
    metrics.list.map(({ name, kind }) => [name, { ...COUNT, description: `A ${kind.name}` }]),
  );
  const live = { ...COUNT, description: 'Connections that watch the post now' };
  const post = { post: POST, ...totals, live, updated_at: UPDATED_AT };
  return {
    Action: {
      type: 'object',
      required: ['action'],
      properties: { action: { type: 'string', enum: ['increment', 'decrement'] } },
      additionalProperties: false,
    },
    Count: {
      type: 'object',
      required: ['count', 'updated_at'],
      properties: { count: COUNT, updated_at: UPDATED_AT },
    },
    PostCounts: { type: 'object', required: Object.keys(post), properties: post },
    Counts: {
      type: 'object',
      required: ['counts'],
      properties: { counts: { type: 'array', items: { $ref: '#/components/schemas/PostCounts' } } },
    },
    Regions: {
      type: 'object',
      required: ['region', 'peers'],
      properties: {
        region: { type: 'string', description: 'The own region', examples: ['eu'] },
        peers: { type: 'array', items: { $ref: '#/components/schemas/Peer' } },
      },
    },
    Peer: peer(),
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
