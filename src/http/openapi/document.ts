import type { OpenAPIV3_1 } from 'openapi-types';
import type { Metrics } from '../../counters/metrics.js';
import { buildComponents } from './components.js';
import { buildPaths } from './routes.js';

const DESCRIPTION = `Likes, views and viewers now, counted exactly.

Counts change live over Socket.IO (path \`socket.io/\` of this server) and, as here, over Server-Sent Events.
Requests with an \`Origin\` that may not use this gateway are refused with \`FORBIDDEN\`, whatever they ask.`;

/** The document that /docs shows: every path of this gateway, with the metrics that it was set to count. */
export function buildDocument(metrics: Metrics): OpenAPIV3_1.Document {
  return {
    openapi: '3.1.0',
    info: { title: 'Tallycast', version: '1', description: DESCRIPTION },
    // Relative to the document's own URL, because a proxy may have put the gateway under a path that it does not know.
    servers: [{ url: '.' }],
    tags: [
      { name: 'counters', description: 'Read and change counts' },
      { name: 'events', description: 'Count without waiting for the counts' },
      { name: 'stream', description: 'Follow counts' },
      { name: 'operation', description: 'For those who run the gateway' },
      { name: 'administration', description: 'Changes by those who run the gateway; needs `ADMIN_TOKEN`' },
    ],
    // A token where the gateway is set to verify them; else none is needed.
    security: [{}, { token: [] }],
    paths: buildPaths(metrics),
    components: buildComponents(metrics),
  };
}
