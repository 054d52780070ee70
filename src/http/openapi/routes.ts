import type { OpenAPIV3_1 } from 'openapi-types';
import { groupBy } from '../../common/grouping.js';
import type { Metrics } from '../../counters/metrics.js';
import {
  describeAudit,
  describeDeadLetters,
  describeLogRetry,
  describeLogStatus,
  describeSinksAdopt,
  describeSinksOff,
  describeSinksRetry,
} from './administration-routes.js';
import { describeBadge } from './badge-route.js';
import { describeArm, describeDisarm, describeMilestones, describeWonMilestones } from './milestone-routes.js';
import { describeEvents, describePicture, describeView } from './event-routes.js';
import {
  errorResponses,
  JSON_TYPE,
  jsonResponse,
  metricParameter,
  type Operation,
  textResponse,
} from './operation-parts.js';

type Paths = Record<string, OpenAPIV3_1.PathItemObject>;

const POSTS = { $ref: '#/components/parameters/posts' };
const ACTOR = { $ref: '#/components/parameters/actorId' };
const CONSISTENCY = { $ref: '#/components/parameters/consistency' };

/** A method and a path of the gateway. The routes between regions and those of socket.io are not listed. */
export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** A template of OpenAPI. */
  readonly path: string;
  /** The port that serves it where OPS_PORT is set. */
  readonly port: 'PORT' | 'OPS_PORT' | 'both';
  /** Whether files are served below the path. */
  readonly hasFiles?: boolean;
  readonly describe: (metrics: Metrics) => Operation;
}

/** Every route for clients and operators: for the document, for the 404 text and for the two ports. */
export const ROUTES: readonly Route[] = [
  { method: 'GET', path: '/v1/{post}/{metric}', port: 'PORT', describe: describeGetCount },
  { method: 'PUT', path: '/v1/{post}/{metric}', port: 'PORT', describe: describePutCount },
  { method: 'GET', path: '/v1/counts', port: 'PORT', describe: describeGetCounts },
  { method: 'GET', path: '/v1/stream', port: 'PORT', describe: describeStream },
  { method: 'POST', path: '/v1/events', port: 'PORT', describe: describeEvents },
  { method: 'POST', path: '/view', port: 'PORT', describe: describeView },
  { method: 'GET', path: '/v1/{post}/{metric}.gif', port: 'PORT', describe: describePicture },
  { method: 'GET', path: '/v1/{post}/{metric}.svg', port: 'PORT', describe: describeBadge },
  { method: 'GET', path: '/v1/{post}/{metric}/milestones', port: 'PORT', describe: describeMilestones },
  { method: 'GET', path: '/healthz', port: 'both', describe: describeHealth },
  { method: 'GET', path: '/readyz', port: 'both', describe: describeReadiness },
  { method: 'GET', path: '/v1/regions', port: 'OPS_PORT', describe: describeRegions },
  { method: 'POST', path: '/admin/audit', port: 'OPS_PORT', describe: describeAudit },
  { method: 'POST', path: '/admin/sinks/off', port: 'OPS_PORT', describe: describeSinksOff },
  { method: 'POST', path: '/admin/sinks/adopt', port: 'OPS_PORT', describe: describeSinksAdopt },
  { method: 'POST', path: '/admin/sinks/retry', port: 'OPS_PORT', describe: describeSinksRetry },
  { method: 'POST', path: '/admin/log/status', port: 'OPS_PORT', describe: describeLogStatus },
  { method: 'POST', path: '/admin/log/dead', port: 'OPS_PORT', describe: describeDeadLetters },
  { method: 'POST', path: '/admin/log/retry', port: 'OPS_PORT', describe: describeLogRetry },
  { method: 'GET', path: '/admin/milestones', port: 'OPS_PORT', describe: describeWonMilestones },
  { method: 'PUT', path: '/admin/milestones', port: 'OPS_PORT', describe: describeArm },
  { method: 'DELETE', path: '/admin/milestones', port: 'OPS_PORT', describe: describeDisarm },
  { method: 'GET', path: '/metrics', port: 'OPS_PORT', describe: describeMetrics },
  { method: 'GET', path: '/docs', port: 'OPS_PORT', hasFiles: true, describe: describeDocs },
  { method: 'GET', path: '/docs-json', port: 'OPS_PORT', describe: describeDocument },
];

/** The names of methods in OpenAPI. */
const OPERATIONS = { GET: 'get', PUT: 'put', POST: 'post', DELETE: 'delete' } as const;

export function buildPaths(metrics: Metrics): Paths {
  const paths: Paths = {};
  for (const { method, path, describe } of ROUTES) {
    paths[path] ??= path.includes('{post}') ? { parameters: [{ $ref: '#/components/parameters/post' }] } : {};
    paths[path][OPERATIONS[method]] = describe(metrics);
  }
  return paths;
}

/** Matches the paths that the port serves, as express does: in any case, with or without a slash at the end. */
export function pathPattern(port: 'OPS_PORT' | 'both'): RegExp {
  const paths = ROUTES.filter((route) => route.port === port);
  return new RegExp(`^(?:${paths.map(({ path, hasFiles }) => path + (hasFiles ? '(?:/.*)?' : '/?')).join('|')})$`, 'i');
}

function describeGetCount(metrics: Metrics): Operation {
  return {
    tags: ['counters'],
    operationId: 'readCount',
    summary: 'One count of one post',
    description:
      '`counter` is another name of `likes`; `live` counts the people who watch the post now, or connections with `LIVE=connections`.',
    parameters: [metricParameter(['counter', ...metrics.list.map(({ name }) => name), 'live']), CONSISTENCY, ACTOR],
    responses: {
      200: jsonResponse('The count; 0 for an unknown post.', 'Count'),
      ...errorResponses(400, 401, 403, 429, 503),
    },
  };
}

function describePutCount(metrics: Metrics): Operation {
  return {
    tags: ['counters'],
    operationId: 'act',
    summary: 'Count up or down',
    description: ['Responds when the operation is committed and durable.', ...describeKinds(metrics)].join(' '),
    parameters: [
      metricParameter(['counter', ...metrics.list.map(({ name }) => name)]),
      ACTOR,
      { $ref: '#/components/parameters/idempotencyKey' },
    ],
    requestBody: { required: true, content: { [JSON_TYPE]: { schema: { $ref: '#/components/schemas/Action' } } } },
    responses: {
      200: jsonResponse('The count after it.', 'CountAfter'),
      ...errorResponses(400, 401, 403, 413, 429, 503),
    },
  };
}

function describeGetCounts(): Operation {
  return {
    tags: ['counters'],
    operationId: 'readCounts',
    summary: 'All counts of several posts',
    description: 'In the order of the request; a post that is named twice comes once.',
    parameters: [POSTS, CONSISTENCY, ACTOR],
    responses: { 200: jsonResponse('The counts.', 'Counts'), ...errorResponses(400, 401, 403, 429, 503) },
  };
}

function describeStream(): Operation {
  return {
    tags: ['stream'],
    operationId: 'streamCounts',
    summary: 'Counts of several posts as they change',
    description:
      'Server-Sent Events. `counts`: an array of updates, first a snapshot of all posts, then at most one event a tick ' +
      'with those that changed. `mine`, with an actor: a toggle of its own changed. `milestone`: a count has reached a milestone. `bye`: the gateway is about to end the stream; come back after `retryAfterMs`. ' +
      'A comment line comes as a heartbeat. An open stream counts in `live`, unless `present` is false.',
    parameters: [
      POSTS,
      { $ref: '#/components/parameters/present' },
      ACTOR,
      { $ref: '#/components/parameters/actorInQuery' },
      { $ref: '#/components/parameters/tokenInQuery' },
    ],
    responses: {
      200: {
        description: 'Events, until either side ends the stream.',
        content: {
          'text/event-stream': {
            schema: { type: 'string' },
            example:
              'event: counts\ndata: [{"post":"42","e":"local.1.k9","v":4,"likes":3,"views":1,"live":1,"d":{"likes":1}}]\n\n',
          },
        },
      },
      ...errorResponses(400, 401, 403, 429, 503),
    },
  };
}

function describeRegions(): Operation {
  return {
    tags: ['operation'],
    operationId: 'readRegions',
    summary: 'The other regions and the state of the links to them',
    description: 'As seen by this gateway. Without `PEERS` there are none.',
    responses: { 200: jsonResponse('The regions.', 'Regions'), ...errorResponses(401, 403, 429) },
  };
}

function describeHealth(): Operation {
  return describeProbe('Liveness', { 200: jsonResponse('The process is alive.', 'Status') });
}

function describeReadiness(): Operation {
  return describeProbe('Readiness', {
    200: jsonResponse('The gateway takes traffic.', 'Status'),
    503: jsonResponse('It takes none: the store is down or being backfilled, or the gateway is closing.', 'Status'),
  });
}

function describeMetrics(): Operation {
  return describeProbe('Prometheus metrics', {
    200: textResponse('Metrics in the format of Prometheus.', 'text/plain'),
  });
}

function describeDocs(): Operation {
  return describeProbe('This documentation as a page', { 200: textResponse('A page.', 'text/html') });
}

function describeDocument(): Operation {
  return describeProbe('This documentation as JSON', { 200: textResponse('An OpenAPI 3.1 document.', JSON_TYPE) });
}

function describeProbe(summary: string, responses: Operation['responses']): Operation {
  return { tags: ['operation'], summary, security: [], responses };
}

function describeKinds({ list }: Metrics): string[] {
  return [...groupBy(list, ({ kind }) => kind.name).values()].map((metrics) => {
    const { name, effect } = metrics[0]!.kind;
    return `A ${name} (${metrics.map((metric) => `\`${metric.name}\``).join(', ')}) ${effect}.`;
  });
}
