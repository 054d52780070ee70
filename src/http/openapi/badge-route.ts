import type { Metrics } from '../../counters/metrics.js';
import { BADGE_COLOR, BADGE_LABEL } from '../../protocol/http-request-schemas.js';
import { toSchema } from './to-schema.js';
import { errorResponses, metricParameter, type Operation } from './operation-parts.js';

export function describeBadge(metrics: Metrics): Operation {
  return {
    tags: ['counters'],
    operationId: 'showBadge',
    summary: 'A picture that shows a count',
    description: 'Reading it counts nothing. It may be cached for a tick, rounded up to a second.',
    parameters: [
      metricParameter(['counter', ...metrics.list.map(({ name }) => name), 'live']),
      {
        name: 'label',
        in: 'query',
        description: 'What stands on the left; the name of the metric by default',
        schema: toSchema(BADGE_LABEL),
      },
      { name: 'color', in: 'query', description: 'The colour behind the count', schema: toSchema(BADGE_COLOR) },
    ],
    responses: {
      200: { description: 'The badge.', content: { 'image/svg+xml': { schema: { type: 'string' } } } },
      304: { description: 'The badge that `If-None-Match` names is current.' },
      ...errorResponses(400, 401, 403, 429, 503),
    },
  };
}
