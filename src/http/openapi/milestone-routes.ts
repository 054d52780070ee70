import type { Metrics } from '../../counters/metrics.js';
import { MILESTONE_IN_QUERY } from '../../protocol/http-request-schemas.js';
import { describeAdministration } from './administration-routes.js';
import { toSchema } from './to-schema.js';
import { errorResponses, JSON_TYPE, jsonResponse, metricParameter, type Operation } from './operation-parts.js';

export function describeMilestones(metrics: Metrics): Operation {
  return {
    tags: ['counters'],
    operationId: 'readMilestones',
    summary: 'The milestones of one count of one post',
    description:
      'Those that are armed, and those that were reached. Who reached them is for operators; an actor learns whether it did.',
    parameters: [
      metricParameter(['counter', ...metrics.list.map(({ name }) => name)]),
      { $ref: '#/components/parameters/actorId' },
    ],
    responses: {
      200: jsonResponse('The milestones, by number; none for an unknown post.', 'Milestones'),
      ...errorResponses(400, 401, 403, 429, 503),
    },
  };
}

export function describeArm(metrics: Metrics): Operation {
  const arm = describeAdministration(
    'armMilestone',
    'Arm a milestone',
    `The operation with which the count of \`metric\` (${listNames(metrics)}) first reaches \`at\` is recorded. The post may be unknown. ` +
      'Responds when it is durable. With `PEERS` the region of the gateway decides: `mode`, `from` and `home` say how.',
    {
      200: jsonResponse('It was armed before.', 'ArmedMilestones'),
      201: jsonResponse('It is armed now.', 'ArmedMilestones'),
      ...errorResponses(409),
    },
  );
  const content = { [JSON_TYPE]: { schema: { $ref: '#/components/schemas/Milestone' } } };
  return { ...arm, requestBody: { required: true, content } };
}

export function describeDisarm(metrics: Metrics): Operation {
  const disarm = describeAdministration(
    'disarmMilestone',
    'Disarm a milestone',
    'Also if it is not armed, unless another region decides. Records of milestones that were reached stay.',
    { 204: { description: 'It is not armed any more.' }, ...errorResponses(409) },
  );
  const at = { name: 'at', in: 'query' as const, required: true, schema: toSchema(MILESTONE_IN_QUERY) };
  return { ...disarm, parameters: [...locate(metrics), at] };
}

export function describeWonMilestones(metrics: Metrics): Operation {
  const list = describeAdministration(
    'readWinners',
    'The milestones of one count of one post, with their winners',
    '`actor` is the key of the actor: with `ACTOR_KEYS=int64` its number, else the first 64 bits of the SHA-256 of its name.',
    { 200: jsonResponse('The milestones, by number.', 'WonMilestones') },
  );
  return { ...list, parameters: locate(metrics) };
}

function locate(metrics: Metrics): NonNullable<Operation['parameters']> {
  const schema = { type: 'string' as const, enum: metrics.list.map(({ name }) => name) };
  return [{ $ref: '#/components/parameters/postInQuery' }, { name: 'metric', in: 'query', required: true, schema }];
}

function listNames({ list }: Metrics): string {
  return list.map(({ name }) => `\`${name}\``).join(', ');
}
