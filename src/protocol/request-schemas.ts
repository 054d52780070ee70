import { z } from 'zod';
import { ACTOR_MAX, BY_MAX, isPostId, POST_RULE, WELL_FORMED_RULE } from './limits.js';

/** The payloads of docs/protocol.md. An invalid one gets BAD_REQUEST, which names the field. */

const OBJECT = 'must be one object';

export function wholeNumber(max: number) {
  const rule = `must be a whole number from 1 to ${max}`;
  return z.number(rule).int(rule).min(1, rule).max(max, rule);
}

const post = z.string(`must be ${POST_RULE}`).refine(isPostId, `must be ${POST_RULE}`);
/** Checked up to the first wrong id: a message has room for 8,000 of them, and zod would describe each. */
const posts = z
  .array(z.unknown(), 'must be a list of post ids')
  .min(1, 'must name at least one post')
  .transform((ids, context) => {
    const wrong = ids.findIndex((id) => typeof id !== 'string' || !isPostId(id));
    if (wrong !== -1) context.addIssue({ code: 'custom', path: [wrong], message: `must be ${POST_RULE}` });
    return ids as string[];
  });
const metric = z.string('must be the name of a metric');
const seq = wholeNumber(Number.MAX_SAFE_INTEGER).optional();

/** By post: the epoch and version that the client has. Only own properties, because ids like `__proto__` are ordinary. */
const known = z.custom<Readonly<Record<string, readonly [string, number]>>>(
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.getOwnPropertyNames(value).every((id) => isPostId(id) && isEpochAndVersion(Reflect.get(value, id))),
  'must be an object of { post: [e, v] }',
);

function isEpochAndVersion(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length === 2 &&
    typeof value[0] === 'string' &&
    Number.isSafeInteger(value[1]) &&
    value[1] >= 0
  );
}

const flag = z.boolean('must be true or false');

export const SUBSCRIBE = z.strictObject({ posts, known: known.optional(), present: flag.default(true) }, OBJECT);
export const UNSUBSCRIBE = z.strictObject({ posts }, OBJECT);
/** `like`, `unlike` and `view`. */
export const ACT = z.strictObject({ post, seq }, OBJECT);
export const ADD = z.strictObject({ post, metric, by: wholeNumber(BY_MAX).default(1), seq }, OBJECT);
export const SET = z.strictObject({ post, metric, on: flag, seq }, OBJECT);

function name(min: number, max: number) {
  const rule = `must be a string of ${min} to ${max} characters`;
  return z
    .string(rule)
    .min(min, rule)
    .max(max, rule)
    .refine((text) => text.isWellFormed(), WELL_FORMED_RULE)
    .optional();
}

export const HANDSHAKE = z.strictObject(
  {
    token: z.string('must be a string').optional(),
    actor: name(1, ACTOR_MAX),
    session: name(8, 64),
    automated: z.boolean('must be true or false').optional(),
  },
  OBJECT,
);
