import { JOB_TYPE } from '../job-response.js';
import { errorResponses, JSON_TYPE, jsonResponse, type Operation, textResponse } from './operation-parts.js';

export function describeAudit(): Operation {
  const schema = { type: 'boolean' as const, default: false };
  const parameters = ['repair', 'members'].map((name) => ({ name, in: 'query' as const, schema }));
  const audit = describeAdministration(
    'audit',
    'Compare the sinks with the store',
    'A line for each thing that differs, and a summary with `drift`, their number. With `repair` the posts of their buckets are sent ' +
      'again. With `members` those who have a toggle on are compared, too. One long job runs at a time.',
    { 200: textResponse('Lines of JSON; empty lines are a heartbeat.', JOB_TYPE) },
  );
  return { ...audit, parameters };
}

export function describeSinksOff(): Operation {
  return describeAdministration(
    'sinksOff',
    'Stop recording changes for sinks',
    'For a store whose gateways have no `SINK_URL` any more.',
    { 200: jsonResponse('No change is recorded any more.', 'Done') },
  );
}

export function describeSinksAdopt(): Operation {
  return describeAdministration(
    'sinksAdopt',
    'Overwrite the sinks with the counts of the store',
    'For sinks that are halted because they have changes that the store lacks. It is done when the gateway that feeds them has read ' +
      'their positions again, which it does every 10 s.',
    { 200: jsonResponse('The sinks follow the store.', 'SinkNames') },
  );
}

export function describeSinksRetry(): Operation {
  return describeAdministration(
    'sinksRetry',
    'Write rows again that the sinks rejected',
    'They are written with the next changes, and rejected again if their cause is left.',
    { 200: jsonResponse('They are about to be written again.', 'RetriedRows') },
  );
}

export function describeLogStatus(): Operation {
  return describeAdministration(
    'logStatus',
    'How many events are in the log, and how many wait',
    'While the store is down, those wait that were not counted when it was last read. `partitions` has those in which events wait.',
    { 200: textResponse('One line of JSON.', JSON_TYPE) },
  );
}

export function describeDeadLetters(): Operation {
  const limit = { name: 'limit', in: 'query' as const, schema: { type: 'integer' as const, default: 100 } };
  const list = describeAdministration(
    'deadLetters',
    'List events of the log that cannot be counted',
    'By partition, the oldest first.',
    { 200: textResponse('Lines of JSON; empty lines are a heartbeat.', JOB_TYPE) },
  );
  return { ...list, parameters: [limit] };
}

export function describeLogRetry(): Operation {
  return describeAdministration(
    'logRetry',
    'Count events that could not be counted',
    'A line for each event that still cannot be counted, and a summary. A repetition within the hour counts nothing twice.',
    { 200: textResponse('Lines of JSON; empty lines are a heartbeat.', JOB_TYPE) },
  );
}

export function describeAdministration(
  operationId: string,
  summary: string,
  description: string,
  responses: Operation['responses'],
): Operation {
  return {
    tags: ['administration'],
    operationId,
    summary,
    description,
    security: [{ adminToken: [] }],
    responses: { ...responses, ...errorResponses(400, 401, 403, 429, 503) },
  };
}
