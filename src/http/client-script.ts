import { join } from 'node:path';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { serveFolder } from './static-files.js';

/**
 * The name and the protocol stay the same from version to version, so an older script works with any gateway. For ten minutes
 * a visitor's pages load it once. Within a day after that the browser uses the old one at once and revalidates it by ETag. So a
 * fix reaches everyone with the second page after ten minutes.
 */
const CACHE_CONTROL = 'public, max-age=600, stale-while-revalidate=86400';

/**
 * The widgets at /client/tallycast.js, for pages of any origin: a script of type module is loaded with CORS, and without
 * credentials. ALLOWED_ORIGINS and tokens restrict what such a page may watch and change.
 * @param assets the directory that the build has put `client` into
 */
export function serveClientScript(app: NestExpressApplication, assets: string): void {
  serveFolder(app, join(assets, 'client'), {
    prefix: '/client',
    servesIndex: false,
    setHeaders: (response) => {
      response.setHeader('Access-Control-Allow-Origin', '*');
      response.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
      response.setHeader('Cache-Control', CACHE_CONTROL);
    },
  });
}
