import { type Key64, toHex64 } from '../counters/ids.js';
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
 *     change    of a tally, and of a unique with a window: how much it grows, 1 by default
 *               of a toggle, a choice, and a unique for good: "on" or "off" for an actor, 1 or -1 without one
 *     options   actor, session: their 64-bit keys in hexadecimal; seq: 1 by default;
 *               silent: 1 if the actor has no connections that show its toggles;
 *               atS: when the event was accepted, seconds since 1970, if in another second than its entry
 *
 * The rule of a metric may change while its events wait. A visit, which is a 1 with an actor, then counts in a tally as any 1, and an event
 * without an actor counts in a unique as it was accepted.
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
const OPTIONS: ReadonlySet<string> = new Set(['actor', 'session', 'seq', 'silent', 'atS']);
/** Characters of a foreign value in a reason. */
const QUOTED_MAX = 64;

/** @param events at most ENTRY_EVENTS_MAX */
export function encodeEntry(acceptedAtMs: number, events: readonly LoggedEvent[], metrics: Metrics): string {
  const atS = toSecond(acceptedAtMs);
  return JSON.stringify({ at: acceptedAtMs, events: events.map((event) => toTuple(event, metrics, atS)) });
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
  const atS = toSecond(at);
  const events: LoggedEvent[] = [];
  const dead: DeadEvent[] = [];
  for (const [index, tuple] of tuples.entries()) {
    const event = fromTuple(tuple, metrics, atS);
    const reason = typeof event === 'string' ? event : isExpected(event.post) ? null : FOREIGN_POST;
    if (reason === null) events.push(event as LoggedEvent);
    else dead.push({ index, reason, event: JSON.stringify(withTime(tuple, atS)) });
  }
  return { acceptedAtMs: at, events, dead };
}

/**
 * Decodes an event of a dead letter, which may be countable by now.
 * @param atS when it was accepted, if it does not say so itself
 * @throws Error with one line that says why it is not
 */
export function decodeEvent(text: string, metrics: Metrics, atS: number): LoggedEvent {
  const event = fromTuple(parseJson(text), metrics, atS);
  if (typeof event === 'string') throw new Error(event);
  return event;
}

function toTuple(event: LoggedEvent, metrics: Metrics, entryAtS: number): unknown[] {
  const { post, metric, kind, value, actor, session, seq, notifiesActor, atS } = event;
  const { name } = metrics.list[metric]!;
  const options: Record<string, unknown> = {};
  if ((kind === 'set' || kind === 'visit') && actor !== null) options['actor'] = toHex64(actor);
  if (session !== null) options['session'] = toHex64(session);
  if (session !== null && seq !== 1) options['seq'] = seq;
  if (kind === 'set' && !notifiesActor) options['silent'] = 1;
  if (kind === 'visit' && atS !== entryAtS) options['atS'] = atS;
  const change = kind === 'set' ? (value === 1 ? 'on' : 'off') : value;
  if (Object.keys(options).length > 0) return [post, name, change, options];
  return kind === 'add' && value === 1 ? [post, name] : [post, name, change];
}

/** A letter is apart from its entry. A value that is no event stays as it is. */
function withTime(tuple: unknown, atS: number): unknown {
  if (!Array.isArray(tuple) || tuple.length < 2 || tuple.length > 4) return tuple;
  const [post, name, change = null, options = {}] = tuple as unknown[];
  return isRecord(options) && options['atS'] === undefined ? [post, name, change, { ...options, atS }] : tuple;
}

/** @returns why it is no event that can be counted, if it is none */
function fromTuple(tuple: unknown, metrics: Metrics, entryAtS: number): LoggedEvent | string {
  if (!Array.isArray(tuple) || tuple.length > 4) return 'an event must be [post, metric, change, options]';
  const [post, name, change, options = {}] = tuple as unknown[];
  if (typeof post !== 'string' || !isPostId(post)) return `post must be ${POST_RULE}`;
  const metric = typeof name === 'string' ? metrics.byName(name) : undefined;
  if (metric === undefined) return `unknown metric ${quote(name)}; METRICS has ${describeMetrics(metrics)}`;
  const read = readOptions(options);
  if (typeof read === 'string') return read;
  const { actor, isSilent, atS = entryAtS, ...session } = read;
  const counted = readChange(metric, change, actor !== null);
  if (counted === null) return explainChange(metric, change, actor !== null);
  const event = { post, metric: metric.index, ...counted, actor: counted.kind === 'add' ? null : actor, ...session };
  const notifiesActor = event.actor !== null && !isSilent;
  return counted.kind === 'visit' ? { ...event, notifiesActor, atS } : { ...event, notifiesActor };
}

function describeMetrics({ list }: Metrics): string {
  return list.map(({ name, kind }) => `${name}:${kind.name}`).join(',');
}

function readChange({ kind }: Metric, change: unknown, hasActor: boolean): Pick<Operation, 'kind' | 'value'> | null {
  if (!kind.hasMembers) {
    if (!isInteger(change ?? 1, 1, hasActor ? 1 : BY_MAX)) return null;
    return { kind: hasActor && kind.windowS > 0 ? 'visit' : 'add', value: (change ?? 1) as number };
  }
  if (hasActor) return change === 'on' || change === 'off' ? { kind: 'set', value: change === 'on' ? 1 : 0 } : null;
  return change === 1 || change === -1 ? { kind: 'adjust', value: change } : null;
}

function explainChange({ name, kind }: Metric, change: unknown, hasActor: boolean): string {
  const [withActor, without] = kind.hasMembers ? ['"on" or "off"', '1 or -1'] : ['1', `1 to ${BY_MAX}`];
  const rule = hasActor ? `${withActor} with an actor` : `${without} without an actor`;
  return `the change of ${name}, a ${kind.name}, must be ${rule}, not ${quote(change)}`;
}

interface EventOptions extends Pick<Operation, 'actor' | 'session' | 'seq'> {
  readonly isSilent: boolean;
  readonly atS: number | undefined;
}

function readOptions(options: unknown): EventOptions | string {
  if (!isRecord(options)) return 'options must be an object';
  const unknown = Object.keys(options).find((option) => !OPTIONS.has(option));
  if (unknown !== undefined) return `unknown option ${quote(unknown)}`;
  const { actor, session, seq, silent, atS } = options;
  for (const [option, key] of Object.entries({ actor, session }))
    if (key !== undefined && !isKey(key)) return `${option} must be 16 hexadecimal digits`;
  if (silent !== undefined && silent !== 1) return 'silent must be 1';
  if (atS !== undefined && !isInteger(atS, 0, Number.MAX_SAFE_INTEGER))
    return 'atS must be a time in seconds since 1970';
  if (seq !== undefined && (session === undefined || !isInteger(seq, 1, Number.MAX_SAFE_INTEGER)))
    return 'seq must be an integer from 1 on, and beside a session';
  return {
    actor: parseKey(actor),
    session: parseKey(session),
    seq: session === undefined ? 0 : (seq ?? 1),
    isSilent: silent === 1,
    atS,
  };
}

function toSecond(ms: number): number {
  return Math.floor(ms / 1_000);
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
