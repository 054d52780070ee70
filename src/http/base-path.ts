import { Logger } from '@nestjs/common';
import type { RequestHandler } from 'express';
import { errorBody } from '../protocol/errors.js';
import { pathPattern } from './openapi/routes.js';

const NOT_FOUND_STATUS = 404;
const MOVED_STATUS = 301;

/** Balancers and supervisors probe the port itself, and need not know the path. */
const PROBE_PATHS = pathPattern('both');
/** Paths of clients, which nobody requests by chance. */
const CLIENT_PATHS = /^\/(?:socket\.io|v1|client)\//;

/** Removes BASE_PATH from the URL of a request, so that everything after it has the paths of a gateway without one. */
export function enterBasePath(basePath: string): RequestHandler {
  const prefix = `${basePath}/`;
  return (request, _response, next) => {
    if (request.url.startsWith(prefix)) request.url = request.url.slice(basePath.length);
    next();
  };
}

/** Responds to requests that do not begin with BASE_PATH: where the gateway is, and how to mend a proxy that removes the path. */
export function rejectOutside(basePath: string): RequestHandler {
  const message = `this gateway serves everything below ${basePath}/, which is its BASE_PATH; if a proxy removes ${basePath} from the paths, run the gateway without BASE_PATH`;
  let isReported = false;
  return (request, response, next) => {
    const { url, originalUrl, path } = request;
    if (url !== originalUrl || PROBE_PATHS.test(path)) {
      next();
    } else if (path === basePath) {
      // Relative, because a proxy may serve it below another path.
      const name = basePath.slice(basePath.lastIndexOf('/') + 1);
      response.redirect(MOVED_STATUS, `${name}/${url.slice(path.length)}`);
    } else {
      if (!isReported && CLIENT_PATHS.test(path)) {
        isReported = true;
        new Logger('http').warn(`a request for ${path} was rejected: ${message}`);
      }
      // Every page may read the error.
      response.setHeader('Access-Control-Allow-Origin', '*');
      response.status(NOT_FOUND_STATUS).json(errorBody('BAD_REQUEST', message));
    }
  };
}
