import { z } from 'zod';
import {
  ACTOR_MAX,
  BY_MAX,
  EVENTS_MAX,
  KEY_MAX,
  KEY_MIN,
  POST_PATTERN,
  POST_RULE,
  WELL_FORMED_RULE,
} from './limits.js';
import { HANDSHAKE, wholeNumber } from './request-schemas.js';

/** Schemas of the fields of HTTP requests: controllers check requests by them, and the OpenAPI document is built from them. */

export const POST_ID = z.string(`must be ${POST_RULE}`).regex(POST_PATTERN, `must be ${POST_RULE}`);

/** `local`: what this region has. `all`: every region is read first. */
export const CONSISTENCY = z.enum(['local', 'all'], 'must be local or all').default('local');

/** Whether a stream counts in `live` of its posts. */
export const PRESENT = z.enum(['true', 'false'], 'must be true or false').default('true');

export const ACTOR_ID = characters(1, ACTOR_MAX);

/** The token of a stream. Other requests have it in a header. */
export const TOKEN_IN_QUERY = z.string('must be one token').optional();

export const IDEMPOTENCY_KEY = characters(KEY_MIN, KEY_MAX);

export const ACTION_RULE = '{ "action": "increment" } or { "action": "decrement" }';

export const ACTION = z.strictObject(
  {
    action: z.enum(['increment', 'decrement'], 'must be "increment" or "decrement"'),
    automated: z.boolean('must be true or false').optional(),
  },
  `must be ${ACTION_RULE}`,
);

export const DEFAULT_EVENT_METRIC = 'views';

/** An operation whose client does not wait for its outcome. The kind of its metric decides between `by` and `on`. */
export const EVENT = z.strictObject(
  {
    post: POST_ID,
    metric: z.string('must be the name of a metric').default(DEFAULT_EVENT_METRIC),
    by: wholeNumber(BY_MAX).optional(),
    on: z.boolean('must be true or false').optional(),
    key: IDEMPOTENCY_KEY.refine((key) => key.isWellFormed(), WELL_FORMED_RULE).optional(),
    seq: wholeNumber(Number.MAX_SAFE_INTEGER).optional(),
  },
  'must be one object such as { "post": "42" }',
);

export const EVENTS_RULE = `must have 1 to ${EVENTS_MAX} events`;

/** The fields of a handshake, because a beacon has no headers. Each event is checked alone, by `EVENT`. */
export const EVENT_LIST = HANDSHAKE.extend({
  events: z
    .array(z.unknown(), `must be a list of 1 to ${EVENTS_MAX} events`)
    .min(1, EVENTS_RULE)
    .max(EVENTS_MAX, EVENTS_RULE),
});

const MILESTONE_RULE = `must be a whole number from 1 to ${Number.MAX_SAFE_INTEGER}`;

export const MILESTONE_BODY_RULE = '{ "post": "42", "metric": "views", "at": 1000000 }';

/** A milestone of a metric of a post, to be armed. */
export const MILESTONE = z.strictObject(
  {
    post: POST_ID,
    metric: z.string('must be the name of a metric'),
    at: wholeNumber(Number.MAX_SAFE_INTEGER),
    mode: z.enum(['order', 'strict'], 'must be order or strict').optional(),
    home: z.string('must be the name of this region').max(16, 'must be the name of this region').optional(),
    from: wholeNumber(Number.MAX_SAFE_INTEGER).optional(),
  },
  `must be ${MILESTONE_BODY_RULE}`,
);

/** `at` in a query: a number without leading zeros. */
export const MILESTONE_IN_QUERY = z
  .string(MILESTONE_RULE)
  .regex(/^[1-9]\d{0,15}$/, MILESTONE_RULE)
  .transform(Number)
  .refine(Number.isSafeInteger, MILESTONE_RULE);

const LABEL_MAX = 32;

/** XML allows neither control characters nor halves of surrogate pairs. */
export const BADGE_LABEL = z
  .string(`must be one text of 1 to ${LABEL_MAX} characters`)
  .regex(
    new RegExp(`^[^\\p{Cc}\\p{Cs}\\uFFFE\\uFFFF]{1,${LABEL_MAX}}$`, 'u'),
    `must have 1 to ${LABEL_MAX} characters, no control characters among them`,
  );

/** By name, in hexadecimal digits. The names are those of https://shields.io. */
export const BADGE_COLORS = {
  blue: '007ec6',
  brightgreen: '4c1',
  green: '97ca00',
  grey: '555',
  lightgrey: '9f9f9f',
  orange: 'fe7d37',
  red: 'e05d44',
  yellow: 'dfb317',
} as const;

const COLOR_RULE = `must be 3 or 6 hexadecimal digits without #, or one of: ${Object.keys(BADGE_COLORS).join(', ')}`;

export const BADGE_COLOR = z
  .string(COLOR_RULE)
  .regex(new RegExp(`^(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{6}|${Object.keys(BADGE_COLORS).join('|')})$`), COLOR_RULE)
  .default('blue');

export type Consistency = z.output<typeof CONSISTENCY>;
export type MilestoneBody = z.output<typeof MILESTONE>;
export type EventList = z.output<typeof EVENT_LIST>;
export type ActionBody = z.output<typeof ACTION>;
export type Action = ActionBody['action'];

function characters(min: number, max: number) {
  const rule = `must have ${min} to ${max} characters`;
  return z.string(rule).min(min, rule).max(max, rule);
}
