import { ProtocolError } from '../../protocol/errors.js';
import { EVENT_LIST, type EventList, EVENTS_RULE } from '../../protocol/http-request-schemas.js';
import { EVENTS_MAX } from '../../protocol/limits.js';
import { validationError } from '../../protocol/validation-error.js';

/** Stands for a line that is not JSON: that event is rejected, and the others are counted. */
export const UNREADABLE = Symbol('Unreadable');

const UTF8 = new TextDecoder('utf-8', { fatal: true });

const JSON_TYPE = /^application\/(?:[^;\s]+\+)?json\s*(?:;|$)/i;

const BODY_RULE =
  'the body must be JSON in UTF-8: { "events": [ { "post": "42" }, … ] }, a list of events, or one event a line';

/**
 * @param type Content-Type. All but JSON may have one event a line: a beacon declares `text/plain`, and `curl -d` a form
 * @throws ProtocolError BAD_REQUEST
 */
export function parseEventList(body: Buffer, type: string | undefined): EventList {
  const text = decode(body);
  const value = parseJson(text);
  const isJson = type !== undefined && JSON_TYPE.test(type);
  if (value === UNREADABLE) {
    if (isJson) throw new ProtocolError('BAD_REQUEST', BODY_RULE);
    return { events: parseLines(text) };
  }
  if (Array.isArray(value)) return checkList({ events: value });
  const isOneEvent = !isJson && !(typeof value === 'object' && value !== null && Object.hasOwn(value, 'events'));
  return isOneEvent ? { events: [value] } : checkList(value);
}

function decode(body: Buffer): string {
  try {
    return UTF8.decode(body);
  } catch {
    throw new ProtocolError('BAD_REQUEST', BODY_RULE);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return UNREADABLE;
  }
}

/** Stops at the first event too many: a body has room for 100,000 lines. */
function parseLines(text: string): unknown[] {
  const events: unknown[] = [];
  for (let from = 0; from < text.length;) {
    const newline = text.indexOf('\n', from);
    const end = newline === -1 ? text.length : newline;
    const line = text.slice(from, end);
    from = end + 1;
    if (line.trim() === '') continue;
    if (events.length === EVENTS_MAX) throw new ProtocolError('BAD_REQUEST', `events ${EVENTS_RULE}`);
    events.push(parseJson(line));
  }
  if (events.every((event) => event === UNREADABLE)) throw new ProtocolError('BAD_REQUEST', BODY_RULE);
  return events;
}

function checkList(value: unknown): EventList {
  const parsed = EVENT_LIST.safeParse(value);
  if (parsed.success) return parsed.data;
  const { code, message } = validationError(parsed.error, Object.keys(EVENT_LIST.shape));
  throw new ProtocolError(code, message);
}
