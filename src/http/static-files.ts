import { readdirSync, statSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NextFunction, Request, Response } from 'express';

const PACKED = '.gz';

export interface FolderOptions {
  /** Path of the URLs, such as `/docs`. */
  readonly prefix: string;
  /** Whether a folder serves its index.html. */
  readonly servesIndex: boolean;
  readonly setHeaders?: (response: Response) => void;
}

/**
 * Serves the files of a folder. Clients that accept gzip get the files that the build has compressed (scripts/compress.mjs):
 * compressing the largest for each request takes about 30 ms of CPU.
 */
export function serveFolder(app: NestExpressApplication, folder: string, options: FolderOptions): void {
  const { prefix, servesIndex, setHeaders } = options;
  const packed = findPacked(folder);
  app.use(prefix, (request: Request, _response: Response, next: NextFunction) => {
    const isFolder = servesIndex && request.originalUrl.replace(/\?.*/s, '').endsWith('/');
    const path = isFolder ? `${request.path}index.html` : request.path;
    if (packed.has(path) && request.acceptsEncodings('gzip') !== false) request.url = path + PACKED;
    next();
  });
  app.useStaticAssets(folder, {
    prefix,
    ...(!servesIndex && { index: false, redirect: false }),
    setHeaders: (response: Response, path: string) => {
      setHeaders?.(response);
      if (!path.endsWith(PACKED)) return;
      response.type(extname(path.slice(0, -PACKED.length)));
      response.setHeader('Content-Encoding', 'gzip');
    },
  });
}

/** URL paths of the files that have a compressed copy beside them. Leaves out files that changed after their copy. */
function findPacked(folder: string): ReadonlySet<string> {
  const packed = new Set<string>();
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith(PACKED)) continue;
    const file = join(folder, name.slice(0, -PACKED.length));
    const original = statSync(file, { throwIfNoEntry: false });
    if (original === undefined || original.mtimeMs > statSync(join(folder, name)).mtimeMs) continue;
    packed.add(`/${relative(folder, file).replaceAll(sep, '/')}`);
  }
  return packed;
}
