import { readdirSync, statSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NextFunction, Request, Response } from 'express';

/** Endings of the compressed copies of a file. Brotli comes first, because its files are smaller. */
const ENDINGS = { br: '.br', gzip: '.gz' } as const;
const ENCODINGS = Object.keys(ENDINGS) as (keyof typeof ENDINGS)[];
const INDEX = 'index.html';
const MOVED_STATUS = 301;

export interface FolderOptions {
  /** Path of the URLs, such as `/docs`. */
  readonly prefix: string;
  /** Whether a folder serves its index.html. */
  readonly servesIndex: boolean;
  readonly setHeaders?: (response: Response) => void;
}

/**
 * Serves the files of a folder. Clients that accept Brotli or gzip get the files that the build has compressed
 * (scripts/compress.mjs): compressing the largest for each request takes about 30 ms of CPU.
 */
export function serveFolder(app: NestExpressApplication, folder: string, options: FolderOptions): void {
  const { prefix, servesIndex, setHeaders } = options;
  const packed = new Map(ENCODINGS.map((one) => [one, findPacked(folder, ENDINGS[one])]));
  const pages = servesIndex ? findPages(folder) : new Set<string>();
  app.use(prefix, (request: Request, response: Response, next: NextFunction) => {
    // At `/docs` the path below the prefix is `/`, too.
    const isFolder = request.originalUrl.replace(/\?.*/s, '').endsWith('/');
    if (!isFolder && isRead(request) && pages.has(request.path.replace(/^\/$/, ''))) {
      redirectToFolder(request, response);
      return;
    }
    const path = isFolder && servesIndex ? request.path + INDEX : request.path;
    const encoding = ENCODINGS.find((one) => packed.get(one)!.has(path) && accepts(response, one));
    if (encoding !== undefined) request.url = path + ENDINGS[encoding];
    next();
  });
  app.useStaticAssets(folder, {
    prefix,
    redirect: false,
    ...(!servesIndex && { index: false }),
    setHeaders: (response: Response, path: string) => {
      setHeaders?.(response);
      const encoding = ENCODINGS.find((one) => path.endsWith(ENDINGS[one]));
      if (encoding === undefined) return;
      response.type(extname(path.slice(0, -ENDINGS[encoding].length)));
      response.setHeader('Content-Encoding', encoding);
    },
  });
}

/** By the header as it was sent. Parsed here, because requests of the API must not pay for it. */
function accepts(response: Response, encoding: string): boolean {
  const { req: request } = response;
  request.headers['accept-encoding'] = response.locals['acceptEncoding'] as string | undefined;
  return request.acceptsEncodings(encoding) !== false;
}

function isRead({ method }: Request): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Relative, because a proxy may have removed the beginning of the path. */
function redirectToFolder({ originalUrl }: Request, response: Response): void {
  const [, name, query] = /([^/?]*)(\?.*)?$/s.exec(originalUrl)!;
  response.redirect(MOVED_STATUS, `${name!}/${query ?? ''}`);
}

/** URL paths of the folders that have a page, without a slash at their end. */
function findPages(folder: string): ReadonlySet<string> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map(
    (name) => `/${name.replaceAll(sep, '/')}`,
  );
  return new Set(names.filter((name) => name.endsWith(`/${INDEX}`)).map((name) => name.slice(0, -INDEX.length - 1)));
}

/** URL paths of the files that have a compressed copy beside them. Leaves out files that changed after their copy. */
function findPacked(folder: string, ending: string): ReadonlySet<string> {
  const packed = new Set<string>();
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith(ending)) continue;
    const file = join(folder, name.slice(0, -ending.length));
    const original = statSync(file, { throwIfNoEntry: false });
    if (original === undefined || original.mtimeMs > statSync(join(folder, name)).mtimeMs) continue;
    packed.add(`/${relative(folder, file).replaceAll(sep, '/')}`);
  }
  return packed;
}
