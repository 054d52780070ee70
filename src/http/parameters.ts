import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import type { Request } from 'express';
import type { z } from 'zod';
import type { Credentials } from '../access/authenticator.js';
import { copyText } from '../common/copy-text.js';
import {
  ACTION,
  type ActionBody,
  ACTOR_ID,
  BADGE_COLOR,
  BADGE_COLORS,
  BADGE_LABEL,
  CONSISTENCY,
  type Consistency,
  type EventList,
  IDEMPOTENCY_KEY,
  MILESTONE,
  MILESTONE_IN_QUERY,
  type MilestoneBody,
  POST_ID,
  PRESENT,
  TOKEN_IN_QUERY,
} from '../protocol/http-request-schemas.js';
import { isPostId, POST_RULE } from '../protocol/limits.js';
import { LIKES, type Metric, type Metrics } from '../counters/metrics.js';
import { ProtocolError } from '../protocol/errors.js';
import { validationError } from '../protocol/validation-error.js';

/** Checks fields of requests. Each function throws BAD_REQUEST with the name of the wrong field, unless its comment says more. */

/** A list of media types with event streams or any text, or the single type for anything. */
const EVENT_TYPES = /(^|,)\s*text\/(event-stream|\*)\s*(;|,|$)|^\s*(\*\/\*\s*(;[^,]*)?)?$/i;

export function parseAction(body: unknown): ActionBody {
  return checkBody(ACTION, body);
}

export function parseMilestoneBody(body: unknown): MilestoneBody {
  return checkBody(MILESTONE, body);
}

/** @returns a threshold of a milestone */
export function parseMilestoneInQuery(text: unknown): number {
  return check(MILESTONE_IN_QUERY, 'at', text);
}

/** @returns a metric that the store has, so that it may have milestones */
export function parseStoredMetric(name: unknown, metrics: Metrics): Metric {
  const metric = metrics.byName(String(name));
  if (typeof name === 'string' && metric !== undefined) return metric;
  throw new ProtocolError('BAD_REQUEST', `metric must be one of: ${metrics.list.map((one) => one.name).join(', ')}`);
}

export function parsePost(text: unknown): string {
  return copyText(check(POST_ID, 'post', text));
}

/** @returns `null` for `live`, which no store has. `counter` is another name of `likes`. */
export function parseMetric(name: string, metrics: Metrics): Metric | null {
  if (name === 'live') return null;
  const metric = name === 'counter' ? metrics.list[LIKES] : metrics.byName(name);
  if (metric !== undefined) return metric;
  const names = metrics.list.map((one) => one.name).join(', ');
  throw new ProtocolError('BAD_REQUEST', `metric must be one of: counter, ${names}, live`);
}

/** @returns a metric that is added to */
export function parseTally(name: unknown, { list }: Metrics): Metric {
  const tallies = list.filter(({ kind }) => kind.event === 'add');
  const metric = tallies.find((one) => one.name === name);
  if (metric !== undefined) return metric;
  const kinds = [...new Set(tallies.map(({ kind }) => kind.plural))].join(' or ');
  throw new ProtocolError(
    'BAD_REQUEST',
    `metric must be one of the ${kinds}: ${tallies.map((one) => one.name).join(', ')}`,
  );
}

/**
 * @returns different posts, in the order of the request
 * @throws ProtocolError also TOO_MANY_POSTS, for more than `max`
 */
export function parsePosts(list: unknown, max: number): string[] {
  if (typeof list !== 'string' || list === '') {
    throw new ProtocolError('BAD_REQUEST', 'posts must name at least one post, once in the query: ?posts=a,b,c');
  }
  const posts = [...new Set(list.split(','))];
  if (posts.length > max) throw new ProtocolError('TOO_MANY_POSTS', `posts may name at most ${max} posts`);
  const wrong = posts.findIndex((post) => !isPostId(post));
  if (wrong === -1) return posts.map(copyText);
  throw new ProtocolError('BAD_REQUEST', `posts[${wrong}] must be ${POST_RULE}`);
}

export function parseConsistency(value: unknown): Consistency {
  return check(CONSISTENCY, 'consistency', value);
}

export function parseBadgeLabel(text: unknown): string {
  return check(BADGE_LABEL, 'label', text);
}

/** @returns 3 or 6 hexadecimal digits */
export function parseBadgeColor(text: unknown): string {
  const color = check(BADGE_COLOR, 'color', text);
  return Object.hasOwn(BADGE_COLORS, color) ? BADGE_COLORS[color as keyof typeof BADGE_COLORS] : color;
}

export function parsePresent(value: unknown): boolean {
  return check(PRESENT, 'present', value) === 'true';
}

/**
 * A stream makes its client a viewer, and a picture or a script of any page can request it. So it requires the headers of an
 * EventSource, or of a program that accepts anything.
 */
export function checkAcceptsEvents({ accept, 'sec-fetch-dest': destination }: IncomingHttpHeaders): void {
  const wants = accept === undefined || EVENT_TYPES.test(accept);
  if (wants && (destination === undefined || destination === 'empty')) return;
  throw new ProtocolError(
    'BAD_REQUEST',
    'this is an event stream, not a page or a picture: Accept must be text/event-stream or */*, from EventSource or fetch',
  );
}

export function parseIdempotencyKey(headers: IncomingHttpHeaders): string | null {
  const key = headers['idempotency-key'];
  if (key === undefined) return null;
  return check(IDEMPOTENCY_KEY, 'Idempotency-Key', typeof key === 'string' ? decodeHeader(key) : key);
}

/** Ignores schemes other than Bearer: they may belong to a proxy. */
export function parseCredentials(headers: IncomingHttpHeaders): Credentials {
  return { token: parseToken(headers), actor: parseActor(headers), actorField: 'Actor-Id' };
}

/** For reads, where the actor makes no difference: only a token may be required. */
export function parseTokenOnly(headers: IncomingHttpHeaders): Credentials {
  return { token: parseToken(headers), actor: undefined, actorField: 'Actor-Id' };
}

/** An EventSource has no headers: a token in the query is taken for streams alone, because proxies log queries. */
export function parseStreamCredentials({ headers, query }: Pick<Request, 'headers' | 'query'>): Credentials {
  const token = check(TOKEN_IN_QUERY, 'token', query['token']);
  const actor = check(ACTOR_ID.optional(), 'actor', query['actor']);
  return mergeCredentials(parseCredentials(headers), { token, actor });
}

/** @throws ProtocolError if a header and the other place, which has no headers, differ: one of them is a mistake */
export function mergeCredentials(header: Credentials, other: Pick<EventList, 'token' | 'actor'>): Credentials {
  return {
    token: mergeValues(header.token, other.token, 'token and Authorization'),
    actor: mergeValues(header.actor, other.actor, 'actor and Actor-Id'),
    actorField: other.actor === undefined ? header.actorField : 'actor',
  };
}

function mergeValues(header: string | undefined, other: string | undefined, names: string): string | undefined {
  if (header === undefined || other === undefined || header === other) return header ?? other;
  throw new ProtocolError('BAD_REQUEST', `${names} must be the same; send one of them`);
}

function parseToken({ authorization }: IncomingHttpHeaders): string | undefined {
  const match = authorization === undefined ? null : /^Bearer(?: +(.*))?$/i.exec(authorization);
  // A page that sends an empty token is no guest: it has failed to get one.
  return match === null ? undefined : (match[1] ?? '');
}

function parseActor(headers: IncomingHttpHeaders): string | undefined {
  const header = headers['actor-id'];
  if (header === undefined) return undefined;
  return check(ACTOR_ID, 'Actor-Id', typeof header === 'string' ? decodeHeader(header) : header);
}

/** @throws ProtocolError BAD_REQUEST, which names the field */
function checkBody<S extends z.ZodObject>(schema: S, body: unknown): z.output<S> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const { code, message } = validationError(parsed.error, Object.keys(schema.shape));
  throw new ProtocolError(code, message);
}

/** @throws ProtocolError BAD_REQUEST, which names the field */
function check<T>(schema: z.ZodType<T>, name: string, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ProtocolError('BAD_REQUEST', `${name} ${parsed.error.issues[0]!.message}`);
}

/** Node decodes headers as Latin-1. A text in UTF-8 is decoded again, so that an actor is the same as on a socket, and a key as in a body. */
function decodeHeader(header: string): string {
  // eslint-disable-next-line no-control-regex -- that is what ASCII is
  if (/^[\x00-\x7f]*$/.test(header)) return header;
  const bytes = Buffer.from(header, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : header;
}
