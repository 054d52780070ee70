import { createLiveCounts } from '../live-counts-http.js';
import { findGateway, findStorage } from './page-client.js';
import { registerElements } from './register-elements.js';

export * from '../live-counts-http.js';
export { connectWidgets } from './page-client.js';

/** See widgets.ts. Uses Server-Sent Events and HTTP only. */
registerElements(() => createLiveCounts(findGateway(import.meta.url), { storage: findStorage(import.meta.url) }));
