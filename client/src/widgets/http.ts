import { createLiveCounts } from '../live-counts-http.js';
import { registerElements } from './register-elements.js';

export * from '../live-counts-http.js';
export { connectWidgets } from './page-client.js';

/** See widgets.ts. Uses Server-Sent Events and HTTP only. */
registerElements(() => createLiveCounts(import.meta.url));
