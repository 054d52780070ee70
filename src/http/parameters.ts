import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import type { Credentials } from '../access/authenticator.js';
import { copyText } from '../counters/ids.js';
import { ACTOR_MAX, isPostId, KEY_MAX, KEY_MIN, POST_RULE } from '../protocol/limits.js';
import { LIKES, type Metric, type Metrics } from '../counters/metrics.js';
import { ProtocolError } from '../protocol/errors.js';
import { validationError } from '../protocol/validation-error.js';

/** The parts of requests, checked. Each function throws BAD_REQUEST, naming what does not fit, unless it says more. */

export const ACTION_RULE = '{ "action": "increment" } or { "action": "decrement" }';

/** A list that names events or any text, or that is nothing but "anything". */
const EVENT_TYPES = /(^|,)\s*text\/(event-stream|\*)\s*(;|,|$)|^\s*(\*\/\*\s*(;[^,]*)?)?$/i;

const ACTION = z.strictObject(
  { action: z.enum(['increment', 'decrement'], 'must be "increment" or "decrement"') },
  `must be ${ACTION_RULE}`,
);

export type Action = z.output<typeof ACTION>['action'];

export function parseAction(body: unknown): Action {
  const parsed = ACTION.safeParse(body);
  if (parsed.success) return parsed.data.action;
  const { code, message } = validationError(parsed.error, Object.keys(ACTION.shape));
  throw new ProtocolError(code, message);
}

export function parsePost(text: string): string {
  if (isPostId(text)) return copyText(text);
  throw new ProtocolError('BAD_REQUEST', `post must be ${POST_RULE}`);
}

/** `null` is `live`, which is seen and not kept. `counter` is another name of `likes`. */
export function parseMetric(name: string, metrics: Metrics): Metric | null {
  if (name === 'live') return null;
  const metric = name === 'counter' ? metrics.list[LIKES] : metrics.byName(name);
  if (metric !== undefined) return metric;
  const names = metrics.list.map((one) => one.name).join(', ');
  throw new ProtocolError('BAD_REQUEST', `metric must be one of: counter, ${names}, live`);
}

/**
 * Different posts, in the order asked.
 * @throws ProtocolError TOO_MANY_POSTS when there are more than `max`, too.
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

/** `local`: what this region knows. `all`: every region is asked first. */
export type Consistency = 'local' | 'all';

export function parseConsistency(value: unknown): Consistency {
  if (value === undefined || value === 'local') return 'local';
  if (value === 'all') return 'all';
  throw new ProtocolError('BAD_REQUEST', 'consistency must be local or all');
}

/**
 * A stream makes its client a viewer, and a picture or a script of any page can ask for it: so it is for those that ask as an
 * EventSource does, or as a program that takes anything.
 */
export function checkAcceptsEvents({ accept, 'sec-fetch-dest': destination }: IncomingHttpHeaders): void {
  const wants = accept === undefined || EVENT_TYPES.test(accept);
  if (wants && (destination === undefined || destination === 'empty')) return;
  throw new ProtocolError(
    'BAD_REQUEST',
    'Accept must be text/event-stream or */*, asked by EventSource or fetch: this is a stream of events for programs, no page or picture',
  );
}

export function parseIdempotencyKey(headers: IncomingHttpHeaders): string | null {
  const key = headers['idempotency-key'];
  if (key === undefined) return null;
  if (typeof key === 'string' && key.length >= KEY_MIN && key.length <= KEY_MAX) return key;
  throw new ProtocolError('BAD_REQUEST', `Idempotency-Key must have ${KEY_MIN} to ${KEY_MAX} characters`);
}

/** The credentials that the client gives. A scheme other than Bearer is somebody else's, a proxy's for instance. */
export function parseCredentials(headers: IncomingHttpHeaders): Credentials {
  return { token: parseToken(headers), actor: parseActor(headers), actorField: 'Actor-Id' };
}

/** The same for those who only ask: who they are makes no difference, save where watching needs a token. */
export function parseTokenOnly(headers: IncomingHttpHeaders): Credentials {
  return { token: parseToken(headers), actor: undefined, actorField: 'Actor-Id' };
}

function parseToken({ authorization }: IncomingHttpHeaders): string | undefined {
  return authorization === undefined ? undefined : /^Bearer +(.*)$/i.exec(authorization)?.[1];
}

function parseActor(headers: IncomingHttpHeaders): string | undefined {
  const header = headers['actor-id'];
  if (header === undefined) return undefined;
  const actor = typeof header === 'string' ? decodeHeader(header) : '';
  if (actor.length >= 1 && actor.length <= ACTOR_MAX) return actor;
  throw new ProtocolError('BAD_REQUEST', `Actor-Id must have 1 to ${ACTOR_MAX} characters`);
}

/** Node reads headers as Latin-1. A name in UTF-8 is put together again, so that it is the same actor as on a socket. */
function decodeHeader(header: string): string {
  // eslint-disable-next-line no-control-regex -- that is what ASCII is
  if (/^[\x00-\x7f]*$/.test(header)) return header;
  const bytes = Buffer.from(header, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : header;
}
