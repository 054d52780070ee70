import type { Metrics } from '../../counters/metrics.js';
import { EVENT_BYTES_MAX, EVENTS_MAX } from '../../protocol/limits.js';
import { errorResponses, JSON_TYPE, jsonResponse, metricParameter, type Operation } from './operation-parts.js';

const LINES_TYPE = 'application/x-ndjson';
const EVENTS = { $ref: '#/components/schemas/Events' };

export function describeEvents(metrics: Metrics): Operation {
  return {
    tags: ['events'],
    operationId: 'sendEvents',
    summary: 'Count many events without their outcomes',
    description:
      `At most ${EVENTS_MAX} events and ${EVENT_BYTES_MAX / 1024} KiB. Responds when all events that are not in \`rejected\` are ` +
      'committed and durable. With an error as the response, none is counted, except by `UNAVAILABLE`. Any content type but JSON ' +
      'may have one event a line.' +
      describeUniques(metrics),
    parameters: [{ $ref: '#/components/parameters/actorId' }],
    requestBody: {
      required: true,
      content: {
        [JSON_TYPE]: { schema: EVENTS },
        [LINES_TYPE]: { schema: { type: 'string' }, example: '{"post":"42"}\n{"post":"43","by":3}\n' },
        'text/plain': { schema: { type: 'string' }, example: '{"events":[{"post":"42"}]}' },
      },
    },
    responses: {
      202: jsonResponse('The events are counted, except those in `rejected`.', 'AcceptedEvents'),
      ...errorResponses(400, 401, 403, 413, 429, 503),
    },
  };
}

export function describeView(metrics: Metrics): Operation {
  return {
    tags: ['events'],
    operationId: 'sendView',
    summary: 'Count one view without its outcome',
    description: `The body of the request is ignored.${describeUniques(metrics)}`,
    parameters: [
      { $ref: '#/components/parameters/postInQuery' },
      {
        name: 'metric',
        in: 'query',
        schema: { type: 'string', enum: namesOfTallies(metrics), default: 'views' },
      },
      { $ref: '#/components/parameters/actorId' },
      { $ref: '#/components/parameters/idempotencyKey' },
    ],
    responses: {
      202: jsonResponse('The view is counted.', 'AcceptedEvents'),
      ...errorResponses(400, 401, 403, 429, 503),
    },
  };
}

export function describePicture(metrics: Metrics): Operation {
  return {
    tags: ['events'],
    operationId: 'showPicture',
    summary: 'Count one view by a transparent picture',
    description: `For mails and pages without scripts. HEAD and prefetches are not counted.${describeUniques(metrics)}`,
    parameters: [metricParameter(namesOfTallies(metrics))],
    responses: {
      200: { description: 'A pixel.', content: { 'image/gif': { schema: { type: 'string' } } } },
      ...errorResponses(400, 401, 403, 429, 503),
    },
  };
}

/** Begins with a space; empty without uniques. */
function describeUniques({ list }: Metrics): string {
  const names = list.filter(({ kind }) => kind.isUnique).map(({ name }) => `\`${name}\``);
  return names.length === 0 ? '' : ` Each event of ${names.join(', ')} counts its actor, and is rejected without one.`;
}

function namesOfTallies({ list }: Metrics): string[] {
  return list.filter(({ kind }) => kind.event === 'add').map(({ name }) => name);
}
