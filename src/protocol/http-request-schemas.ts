import { z } from 'zod';
import { ACTOR_MAX, KEY_MAX, KEY_MIN, POST_PATTERN, POST_RULE } from './limits.js';

/** Schemas of the fields of HTTP requests: controllers check requests by them, and the OpenAPI document is built from them. */

export const POST_ID = z.string().regex(POST_PATTERN, `must be ${POST_RULE}`);

/** `local`: what this region has. `all`: every region is read first. */
export const CONSISTENCY = z.enum(['local', 'all'], 'must be local or all').default('local');

export const ACTOR_ID = characters(1, ACTOR_MAX);

export const IDEMPOTENCY_KEY = characters(KEY_MIN, KEY_MAX);

export const ACTION_RULE = '{ "action": "increment" } or { "action": "decrement" }';

export const ACTION = z.strictObject(
  { action: z.enum(['increment', 'decrement'], 'must be "increment" or "decrement"') },
  `must be ${ACTION_RULE}`,
);

export type Consistency = z.output<typeof CONSISTENCY>;
export type Action = z.output<typeof ACTION>['action'];

function characters(min: number, max: number) {
  const rule = `must have ${min} to ${max} characters`;
  return z.string(rule).min(min, rule).max(max, rule);
}
