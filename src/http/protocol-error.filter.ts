import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException, Logger } from '@nestjs/common';
import type { Request, Response } from 'express';
import { POST_RULE } from '../protocol/limits.js';
import { type ErrorBody, errorBody, HTTP_STATUS, ProtocolError } from '../protocol/errors.js';
import { MESSAGE_BYTES_MAX } from '../protocol/limits.js';
import { type Route, ROUTES } from './openapi/routes.js';
import { ACTION_RULE, MILESTONE_BODY_RULE } from '../protocol/http-request-schemas.js';

const NOT_FOUND_STATUS = 404;

/** Only one of these paths takes a body. */
const ADMINISTRATION = /^\/admin\//i;

/** Errors of conditional and range requests for files: https://www.rfc-editor.org/rfc/rfc9110#section-13 */
const FILE_ERRORS: Readonly<Record<number, string>> = {
  412: 'the file does not match If-Match or If-Unmodified-Since; repeat the request without them',
  416: 'Range begins after the end of the file; its length is in Content-Range',
};
const FILE_HEADERS = ['Accept-Ranges', 'Content-Encoding', 'ETag', 'Last-Modified'];

/** Responds to every error over HTTP with the protocol's error object. */
@Catch()
export class ProtocolErrorFilter implements ExceptionFilter {
  readonly #logger = new Logger('http');
  readonly #notFound: string;

  constructor(basePath: string) {
    const [clients, operators] = [listRoutes(basePath, 'PORT', 'both'), listRoutes('', 'OPS_PORT')];
    this.#notFound = `unknown method or path; expected one of: ${clients}; on OPS_PORT, where it is set: ${operators}`;
  }

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const response = http.getResponse<Response>();
    const { status, body } = this.#toResponse(error, http.getRequest<Request>());
    if (response.headersSent) {
      response.destroy();
      return;
    }
    // express has set these for the file.
    for (const name of FILE_HEADERS) response.removeHeader(name);
    if (body.retryAfterMs !== undefined) response.setHeader('Retry-After', Math.ceil(body.retryAfterMs / 1000));
    if (body.code === 'UNAUTHORIZED') response.setHeader('WWW-Authenticate', 'Bearer');
    response.status(status).json(body);
  }

  #toResponse(error: unknown, { path }: Request): { status: number; body: ErrorBody } {
    if (error instanceof ProtocolError) return { status: HTTP_STATUS[error.body.code], body: error.body };
    if (error instanceof HttpException && error.getStatus() < 500) return toRejection(error, path, this.#notFound);
    this.#logger.error(error);
    const body = errorBody('UNAVAILABLE', 'the gateway failed; the outcome is unknown');
    return { status: HTTP_STATUS.UNAVAILABLE, body };
  }
}

/** The error for a request that express or its body parser rejects before a controller runs. */
function toRejection(error: HttpException, path: string, notFound: string): { status: number; body: ErrorBody } {
  const status = error.getStatus();
  if (status === HTTP_STATUS.PAYLOAD_TOO_LARGE) {
    // The limit of the body parser that failed: it is higher for other regions than for clients.
    const limit = (error.cause as { readonly limit?: number } | undefined)?.limit ?? MESSAGE_BYTES_MAX;
    return { status, body: errorBody('PAYLOAD_TOO_LARGE', `a body has at most ${limit} bytes`) };
  }
  const file = FILE_ERRORS[status];
  if (file !== undefined) return { status, body: errorBody('BAD_REQUEST', file) };
  if (status === NOT_FOUND_STATUS) return { status, body: errorBody('BAD_REQUEST', notFound) };
  const message =
    error.cause instanceof URIError
      ? `the path is not percent-encoded UTF-8; post must be ${POST_RULE}`
      : `the body must be JSON in UTF-8: ${ADMINISTRATION.test(path) ? MILESTONE_BODY_RULE : ACTION_RULE}`;
  return { status: HTTP_STATUS.BAD_REQUEST, body: errorBody('BAD_REQUEST', message) };
}

function listRoutes(basePath: string, ...ports: readonly Route['port'][]): string {
  return ROUTES.filter(({ port }) => ports.includes(port))
    .map(({ method, path }) => `${method} ${basePath}${path}`)
    .join(', ');
}
