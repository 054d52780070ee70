import { join } from 'node:path';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { serveFolder } from './static-files.js';

/**
 * The name stays the same from version to version, and the protocol does too, so a script that is somewhat old does its work
 * with any gateway. For ten minutes a visitor's pages load it once; within a day after that the old one is used at once
 * while the browser asks, by ETag, whether there is a newer. So a fix reaches everyone with the second page after ten minutes.
 */
const CACHE_CONTROL = 'public, max-age=600, stale-while-revalidate=86400';

/**
 * The widgets at /client/tallycast.js, for pages of any origin: a script of type module is loaded with CORS, and without
 * credentials. What such a page may watch and do is for ALLOWED_ORIGINS and tokens to say.
 * @param assets the directory that the build has put `client` into
 */
export function serveClientScript(app: NestExpressApplication, assets: string): void {
  serveFolder(app, join(assets, 'client'), {
    prefix: '/client',
    index: false,
    setHeaders: (response) => {
      response.setHeader('Access-Control-Allow-Origin', '*');
      response.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
      response.setHeader('Cache-Control', CACHE_CONTROL);
    },
  });
}
