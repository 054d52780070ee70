import type { OpenAPIV3_1 } from 'openapi-types';
import { MILESTONE } from '../../protocol/http-request-schemas.js';
import { toSchema } from './to-schema.js';

type Schemas = NonNullable<NonNullable<OpenAPIV3_1.Document['components']>['schemas']>;
type Schema = Schemas[string];

export const REACHED = {
  type: 'boolean',
  const: true,
  description: 'Only of the operation with which the count reached a milestone, and of its retries',
} satisfies Schema;

const NUMBER = { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER } satisfies Schema;
const ARMED = { type: 'array', items: NUMBER, description: 'Ascending' } satisfies Schema;
const KEY = { type: ['string', 'null'], pattern: '^-?\\d+$', description: 'A decimal int64' } satisfies Schema;

const REACHED_FIELDS = {
  n: { ...NUMBER, description: 'The number that was reached' },
  v: { ...NUMBER, description: 'The version of the first counts that include it' },
  at: { type: 'string', format: 'date-time', description: 'When it was reached, in UTC' },
  final: { type: 'boolean', description: 'Whether no failover of the store can lose it any more' },
} satisfies Schemas;
const MISSED = {
  type: 'boolean',
  const: true,
  description: 'Only if the count passed it by something that is no operation: then nobody reached it',
} satisfies Schema;

const WINNER_FIELDS = {
  actor: { ...KEY, description: 'The key of the actor, a decimal int64; `null`: the operation had none' },
  session: { ...KEY, description: 'The key of the session, a decimal int64; `null`: the operation had none' },
  seq: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: '0 without a session' },
  kind: { type: 'string', enum: ['add', 'set', 'adjust', 'visit'] },
  value: { type: 'integer', description: 'What the operation added, or 1 for a toggle that was put on' },
  total: { ...NUMBER, description: 'The count after the operation; at least `n`' },
  region: { type: 'string' },
  epoch: { type: 'integer', description: 'Of the history of the store' },
} satisfies Schemas;

const PARTIAL = {
  type: 'boolean',
  const: true,
  description: 'Only where another region may have armed numbers that `armed` lacks',
} satisfies Schema;

const HOME_FIELDS = {
  home: { type: 'string', description: 'Only with other regions: the one that decides, or did last' },
  mode: { type: 'string', enum: ['order', 'strict', 'released'] },
  waiting_for: { type: 'array', items: { type: 'string' }, description: 'Regions that have not confirmed the home' },
} satisfies Schemas;

export function milestoneSchemas(): Schemas {
  const mine = { type: 'boolean' as const, const: true, description: 'Only if the actor of the request reached it' };
  const post = { type: 'string' as const };
  return {
    Milestone: toSchema(MILESTONE),
    ArmedMilestones: object({ post, metric: { type: 'string' }, armed: ARMED }),
    Milestones: object(
      { armed: ARMED, reached: list(object(REACHED_FIELDS, { missed: MISSED, mine })) },
      { partial: PARTIAL },
    ),
    WonMilestones: object(
      { armed: ARMED, reached: list(object({ ...REACHED_FIELDS, ...WINNER_FIELDS }, { missed: MISSED })) },
      HOME_FIELDS,
    ),
  };
}

function object(required: Schemas, optional: Schemas = {}): Schema {
  return { type: 'object', required: Object.keys(required), properties: { ...required, ...optional } };
}

function list(items: Schema): Schema {
  return { type: 'array', items };
}
