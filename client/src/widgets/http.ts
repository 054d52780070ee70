import { createLiveCounts } from '../live-counts-http.js';
import { defineWidgets } from './define.js';

export * from '../live-counts-http.js';
export { connectWidgets } from './page-client.js';

/** As widgets.ts, over Server-Sent Events and HTTP only. */
defineWidgets(() => createLiveCounts(import.meta.url));
