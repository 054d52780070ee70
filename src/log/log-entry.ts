import type { Key64 } from '../counters/ids.js';
import type { Metric, Metrics } from '../counters/metrics.js';
import type { Operation } from '../counters/operation.js';
import { BY_MAX, isPostId, POST_RULE } from '../protocol/limits.js';

/**
 * The payload of an entry is JSON that names metrics, because their indices change with METRICS:
 *
 *     { "at": 1767225600000, "events": [ ["42", "views"], ["42", "likes", "on", { "actor": "00000000000004d2" }] ] }
 *
 *     at        when the events were accepted, ms since 1970
 *     event     post, metric, change, options; what is left out at the end has its default
 *     change    of a tally: how much it grows, 1 by default
 *               of a toggle: "on" or "off" for an actor, 1 or -1 without one
 *     options   actor, session: their 64-bit keys in hexadecimal; seq: 1 by default;
 *               silent: 1 if the actor has no connections that show its toggles
 *
 * A view without a key takes 13 bytes and the length of its post, and an entry 31 bytes more.
 */

/** An entry is applied in one batch, which has at most this many operations. */
export const ENTRY_EVENTS_MAX = 500;

/** An event that waits to be counted. */
export interface LoggedEvent extends Operation {
  /** Whether the actor may have connections, which show that a toggle has changed. */
  readonly notifiesActor: boolean;
}

/** An event that cannot be counted. */
interface DeadEvent {
  /** Its index in the entry; 0 for an entry that cannot be decoded at all. */
  readonly index: number;
  /** One line. */
  readonly reason: string;
  /** The event as JSON, or the payload of the entry. */
  readonly event: string;
}

export interface DecodedEntry {
  /** `null` for an entry that cannot be decoded. */
  readonly acceptedAtMs: number | null;
  readonly events: readonly LoggedEvent[];
  readonly dead: readonly DeadEvent[];
}

const KEY = /^[0-9a-f]{16}$/;
const FOREIGN_POST = 'events of the post belong to another partition';
const OPTIONS: ReadonlySet<string> = new Set(['actor', 'session', 'seq', 'silent']);
/** Characters of a foreign value in a reason. */
const QUOTED_MAX = 64;

/** @param events at most ENTRY_EVENTS_MAX */
export function encodeEntry(acceptedAtMs: number, events: readonly LoggedEvent[], metrics: Metrics): string {
  return JSON.stringify({ at: acceptedAtMs, events: events.map((event) => toTuple(event, metrics)) });
}

/**
 * Never throws: what cannot be counted is dead, and the other events of the entry are not.
 * @param isExpected whether events of the post may be in this entry
 */
export function decodeEntry(
  payload: string,
  metrics: Metrics,
  isExpected: (post: string) => boolean = () => true,
): DecodedEntry {
  const deadEntry = (reason: string): DecodedEntry => {
    return { acceptedAtMs: null, events: [], dead: [{ index: 0, reason, event: payload }] };
  };
  const entry = parseJson(payload);
  if (!isRecord(entry)) return deadEntry('the entry is no JSON object');
  const { at, events: tuples } = entry;
  if (!isInteger(at, 0, Number.MAX_SAFE_INTEGER)) return deadEntry('at must be a time in ms since 1970');
  if (!Array.isArray(tuples) || tuples.length > ENTRY_EVENTS_MAX)
    return deadEntry(`events must be a list of at most ${ENTRY_EVENTS_MAX} events`);
  const events: LoggedEvent[] = [];
  const dead: DeadEvent[] = [];
  for (const [index, tuple] of tuples.entries()) {
    const event = fromTuple(tuple, metrics);
    const reason = typeof event === 'string' ? event : isExpected(event.post) ? null : FOREIGN_POST;
    if (reason === null) events.push(event as LoggedEvent);
    else dead.push({ index, reason, event: JSON.stringify(tuple) });
  }
  return { acceptedAtMs: at, events, dead };
}

/**
 * Decodes an event of a dead letter, which may be countable by now.
 * @throws Error with one line that says why it is not
 */
export function decodeEvent(text: string, metrics: Metrics): LoggedEvent {
  const event = fromTuple(parseJson(text), metrics);
  if (typeof event === 'string') throw new Error(event);
  return event;
}

function toTuple(event: LoggedEvent, metrics: Metrics): unknown[] {
  const { post, metric, kind, value, actor, session, seq, notifiesActor } = event;
  const { name } = metrics.list[metric]!;
  const options: Record<string, unknown> = {};
  if (kind === 'set' && actor !== null) options['actor'] = formatKey(actor);
  if (session !== null) options['session'] = formatKey(session);
  if (session !== null && seq !== 1) options['seq'] = seq;
  if (kind === 'set' && !notifiesActor) options['silent'] = 1;
  const change = kind === 'set' ? (value === 1 ? 'on' : 'off') : value;
  if (Object.keys(options).length > 0) return [post, name, change, options];
  return kind === 'add' && value === 1 ? [post, name] : [post, name, change];
}

/** @returns why it is no event that can be counted, if it is none */
function fromTuple(tuple: unknown, metrics: Metrics): LoggedEvent | string {
  if (!Array.isArray(tuple) || tuple.length > 4) return 'an event must be [post, metric, change, options]';
  const [post, name, change, options = {}] = tuple as unknown[];
  if (typeof post !== 'string' || !isPostId(post)) return `post must be ${POST_RULE}`;
  const metric = typeof name === 'string' ? metrics.byName(name) : undefined;
  if (metric === undefined) return `unknown metric ${quote(name)}; METRICS has ${metrics.toString()}`;
  const counted = readChange(metric, change);
  if (counted === null) return explainChange(metric, change);
  const read = readOptions(options);
  if (typeof read === 'string') return read;
  const { actor, isSilent, ...session } = read;
  if ((counted.kind === 'set') !== (actor !== null))
    return 'a change "on" or "off" must have an actor, and others none';
  return { post, metric: metric.index, ...counted, actor, ...session, notifiesActor: actor !== null && !isSilent };
}

function readChange({ kind }: Metric, change: unknown): Pick<Operation, 'kind' | 'value'> | null {
  if (!kind.hasMembers)
    return isInteger(change ?? 1, 1, BY_MAX) ? { kind: 'add', value: (change ?? 1) as number } : null;
  if (change === 'on' || change === 'off') return { kind: 'set', value: change === 'on' ? 1 : 0 };
  return change === 1 || change === -1 ? { kind: 'adjust', value: change } : null;
}

function explainChange({ name, kind }: Metric, change: unknown): string {
  const rule = kind.hasMembers ? '"on", "off", 1 or -1' : `1 to ${BY_MAX}`;
  return `the change of ${name}, a ${kind.name}, must be ${rule}, not ${quote(change)}`;
}

interface EventOptions extends Pick<Operation, 'actor' | 'session' | 'seq'> {
  readonly isSilent: boolean;
}

function readOptions(options: unknown): EventOptions | string {
  if (!isRecord(options)) return 'options must be an object';
  const unknown = Object.keys(options).find((option) => !OPTIONS.has(option));
  if (unknown !== undefined) return `unknown option ${quote(unknown)}`;
  const { actor, session, seq, silent } = options;
  for (const [option, key] of Object.entries({ actor, session }))
    if (key !== undefined && !isKey(key)) return `${option} must be 16 hexadecimal digits`;
  if (silent !== undefined && silent !== 1) return 'silent must be 1';
  if (seq !== undefined && (session === undefined || !isInteger(seq, 1, Number.MAX_SAFE_INTEGER)))
    return 'seq must be an integer from 1 on, and beside a session';
  return {
    actor: parseKey(actor),
    session: parseKey(session),
    seq: session === undefined ? 0 : (seq ?? 1),
    isSilent: silent === 1,
  };
}

function formatKey({ hi, lo }: Key64): string {
  return hi.toString(16).padStart(8, '0') + lo.toString(16).padStart(8, '0');
}

function isKey(text: unknown): text is string {
  return typeof text === 'string' && KEY.test(text);
}

function parseKey(text: unknown): Key64 | null {
  return isKey(text) ? { hi: parseInt(text.slice(0, 8), 16), lo: parseInt(text.slice(8), 16) } : null;
}

/** @returns `undefined` for a text that is no JSON */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isInteger(value: unknown, min: number, max: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
}

function quote(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value).slice(0, QUOTED_MAX);
}
