import type { z } from 'zod';
import type { Identity } from '../../access/authenticator.js';
import { toRequestKey } from '../../access/name-hashing.js';
import type { Key64 } from '../../counters/ids.js';
import { explainNoDecrement, explainUnique, type Metric, type Metrics } from '../../counters/metrics.js';
import type { AcceptedEvent } from '../../ingest/event-intake.js';
import { type ErrorBody, errorBody } from '../../protocol/errors.js';
import { DEFAULT_EVENT_METRIC, EVENT } from '../../protocol/http-request-schemas.js';
import { BY_MAX, isPostId } from '../../protocol/limits.js';
import { validationError } from '../../protocol/validation-error.js';
import { UNREADABLE } from './event-list.js';

/** The properties that all events of a request have in common. */
export interface EventSource {
  readonly identity: Identity;
  /** The session that the `seq` of events belongs to; `null`: none. */
  readonly session: Key64 | null;
  /** When the request was accepted, seconds since 1970. */
  readonly atS: number;
  readonly onCounts: AcceptedEvent['onCounts'];
}

type EventFields = Readonly<z.input<typeof EVENT>>;

const FIELDS = Object.keys(EVENT.shape);

/** Turns the events of one request, in order, into operations. */
export class EventParser {
  #lastSeq = 0;

  constructor(
    private readonly source: EventSource,
    private readonly metrics: Metrics,
  ) {}

  /** @returns BAD_REQUEST, with the name of the field, for an event that does not fit */
  parse(value: unknown): AcceptedEvent | ErrorBody {
    if (value === UNREADABLE) return errorBody('BAD_REQUEST', 'the line must be one event in JSON');
    if (isPlainEvent(value)) return this.#checkFields(value);
    const parsed = EVENT.safeParse(value);
    return parsed.success ? this.#checkFields(parsed.data) : validationError(parsed.error, FIELDS);
  }

  #checkFields(fields: EventFields): AcceptedEvent | ErrorBody {
    const metric = this.metrics.byName(fields.metric ?? DEFAULT_EVENT_METRIC);
    if (metric === undefined) {
      const names = this.metrics.list.map(({ name }) => name).join(', ');
      return errorBody('BAD_REQUEST', `metric must be one of: ${names}`);
    }
    const fault = findKindFault(fields, metric) ?? this.#findActorFault(metric) ?? this.#findSeqFault(fields);
    return fault === null ? this.#toEvent(fields, metric) : errorBody('BAD_REQUEST', fault);
  }

  #findActorFault(metric: Metric): string | null {
    const fault = this.source.identity.key === null ? explainUnique(metric) : null;
    return fault === null ? null : `Actor-Id, or actor beside events in the body, must name the actor: ${fault}`;
  }

  /** A session has counted everything below its last `seq`, so a lower one would be accepted and never counted. */
  #findSeqFault({ seq, key }: EventFields): string | null {
    if (seq === undefined) return null;
    if (key !== undefined) return 'seq must not come with a key: one of them recognises a retry';
    if (this.source.session === null) return 'seq needs a session, beside events in the body';
    if (seq < this.#lastSeq) return 'seq must not be below that of an earlier event: send them in order';
    this.#lastSeq = seq;
    return null;
  }

  #toEvent({ post, by, on, key, seq }: EventFields, metric: Metric): AcceptedEvent {
    const { identity, session, atS, onCounts } = this.source;
    const action = on === false ? 'decrement' : 'increment';
    const { actor } = identity;
    const sessionOfSeq = seq === undefined ? null : session;
    const { kind, value } = metric.kind.operationFor(action, identity.key !== null);
    return {
      post,
      metric: metric.index,
      kind,
      value: by ?? value,
      actor: identity.key,
      session:
        key === undefined
          ? sessionOfSeq
          : toRequestKey({ actor, idempotencyKey: key, post, metric: metric.name, action }),
      seq: key === undefined ? (seq ?? 0) : 1,
      atS,
      notifiesActor: identity.key !== null,
      onCounts,
    };
  }
}

function findKindFault({ by, on }: EventFields, metric: Metric): string | null {
  const { name, kind } = metric;
  if (kind.isUnique) return findUniqueFault({ by, on }, metric);
  if (kind.event === 'add') return on === undefined ? null : `on must be left out: ${name} is a ${kind.name}, use by`;
  if (by !== undefined) return `by must be left out: ${name} is a ${kind.name}, use on`;
  const fault = on === false ? explainNoDecrement(metric) : null;
  return fault === null ? null : `on must be true: ${fault}`;
}

function findUniqueFault({ by = 1, on }: Pick<EventFields, 'by' | 'on'>, metric: Metric): string | null {
  if (on !== undefined) return `on must be left out: ${explainUnique(metric)}`;
  return by === 1 ? null : `by must be 1: ${explainUnique(metric)}`;
}

/**
 * Whether EVENT accepts the value as it is: without a key, and several times as fast. EVENT checks all others.
 * @param value parsed from JSON
 */
export function isPlainEvent(value: unknown): value is EventFields {
  if (typeof value !== 'object' || value === null) return false;
  const { post, metric, by, on, seq } = value as Partial<Record<keyof EventFields, unknown>>;
  const fields =
    1 + Number(metric !== undefined) + Number(by !== undefined) + Number(on !== undefined) + Number(seq !== undefined);
  return (
    typeof post === 'string' &&
    isPostId(post) &&
    (metric === undefined || typeof metric === 'string') &&
    (by === undefined || isWholeNumber(by, BY_MAX)) &&
    (on === undefined || typeof on === 'boolean') &&
    (seq === undefined || isWholeNumber(seq, Number.MAX_SAFE_INTEGER)) &&
    Object.keys(value).length === fields
  );
}

function isWholeNumber(value: unknown, max: number): boolean {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= max;
}
