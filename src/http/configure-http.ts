import type { NestExpressApplication } from '@nestjs/platform-express';
import compression from 'compression';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { IncomingMessage } from 'node:http';
import { AddressLimiter } from '../access/address-limiter.js';
import { OriginPolicy } from '../access/origin-policy.js';
import { SuspicionLog } from '../access/suspicion-log.js';
import type { Clock } from '../common/clock.js';
import { ProtocolError } from '../protocol/errors.js';
import { MESSAGE_BYTES_MAX } from '../protocol/limits.js';
import { REQUEST_BYTES_MAX } from '../replication/transport/request-splitter.js';
import type { Settings } from '../config/settings.js';
import { CLOCK, SETTINGS } from '../config/injection-tokens.js';
import { enterBasePath, rejectOutside } from './base-path.js';
import { respondToClientError, acceptAnyExpectation } from './client-error.js';
import { serveClientScript } from './client-script.js';
import { limitConnectionTimes } from './connection-times.js';
import { serveEvents } from './events/event-routes.js';
import { JOB_TYPE } from './job-response.js';
import { serveDocs } from './swagger-ui.js';
import { OperatorPort } from './operator-port.js';
import { serializeRequests } from './serialize-requests.js';
import { PeerAuthentication } from './peer-authentication.js';
import { ProtocolErrorFilter } from './protocol-error.filter.js';
import { chargeRequests } from './request-charge.js';
import { addSecurityHeaders, allowSwaggerUi } from './security-headers.js';
import { VERSION_HEADER } from './version-header.js';

/** How long a browser may remember what a preflight allowed, in seconds. */
const PREFLIGHT_MAX_AGE_S = 600;

/** No page of another origin may send requests to them or read their responses. */
const FOR_ADMINISTRATORS = /^\/admin\//i;

const PICTURES = /^\/v1\/[^/]+\/[^/]+\.(?:gif|svg)\/?$/i;

const STREAMS: ReadonlySet<unknown> = new Set(['text/event-stream', JOB_TYPE]);

/**
 * Sets up everything around the routes: headers, compression, CORS, the limit on bodies, errors, /docs and /client. Call it
 * once, before the application listens. Create the application with `bodyParser: false`, because its parser accepts 100 KB.
 * @param assets the directory of the files that the build has made for browsers
 * @returns the port for operators, which does not listen yet; `null` without OPS_PORT
 */
export function configureHttp(app: NestExpressApplication, assets: string): OperatorPort | null {
  const settings = app.get<Settings>(SETTINGS);
  if (settings.trustProxy.length > 0) app.set('trust proxy', [...settings.trustProxy]);
  // Responses of /v1 are never cached, so hashing them is useless.
  app.set('etag', false);
  app.set('query parser', 'simple');

  const { basePath } = settings;
  app.use(serializeRequests);
  if (basePath !== '') app.use(enterBasePath(basePath));
  const peers = app.get(PeerAuthentication);
  const isFromPeer = (request: IncomingMessage): boolean => peers.authenticatedRegion(request) !== undefined;
  app.use(chargeRequests(app.get(AddressLimiter), app.get(SuspicionLog), app.get<Clock>(CLOCK), isFromPeer));
  addSecurityHeaders(app);
  if (basePath !== '') app.use(rejectOutside(basePath));
  const operators = settings.opsPort === null ? null : new OperatorPort(app, settings.keepAliveMs, basePath);
  const compress = compressByGzip();
  checkOrigins(app, app.get(OriginPolicy));
  serveEvents(app, compress);
  app.use(compress);
  allowSwaggerUi(app);
  takeFromPeers(app, peers, isFromPeer);
  // Any content type: `curl -d` declares JSON as a form. Pages cannot abuse that, because PUT is always preflighted.
  app.useBodyParser('json', { limit: MESSAGE_BYTES_MAX, type: () => true });
  serveDocs(app, settings.metrics, assets);
  serveClientScript(app, assets);
  app.useGlobalFilters(new ProtocolErrorFilter(basePath));
  const server = app.getHttpServer();
  server.on('clientError', respondToClientError);
  acceptAnyExpectation(server);
  limitConnectionTimes(server, settings.keepAliveMs);
  return operators;
}

function checkOrigins(app: NestExpressApplication, origins: OriginPolicy): void {
  const forPages = {
    methods: ['GET', 'PUT', 'POST'],
    allowedHeaders: ['Authorization', 'Actor-Id', 'Idempotency-Key', 'Content-Type'],
    exposedHeaders: ['Retry-After', VERSION_HEADER],
    maxAge: PREFLIGHT_MAX_AGE_S,
  };
  app.enableCors(({ headers, url = '' }: IncomingMessage, answer: (error: null, options: object) => void) => {
    const isListed = headers.origin !== undefined && origins.isListed(headers.origin);
    answer(null, { ...forPages, origin: isListed && !FOR_ADMINISTRATORS.test(url) });
  });
  app.use(['/v1', '/view'], (request: Request, response: Response, next: NextFunction) => {
    response.setHeader('Cache-Control', 'no-store');
    // CORS only hides the response from a page, so reject forbidden requests before they have an effect.
    const rejection = isPicture(request) ? origins.findPictureRejection(request) : origins.findRejection(request);
    if (rejection !== null) throw new ProtocolError('FORBIDDEN', rejection);
    next();
  });
}

/** Whether pages of other sites, and mails, may show the response. No metric has a dot in its name. */
function isPicture({ method, baseUrl, path }: Request): boolean {
  return (method === 'GET' || method === 'HEAD') && PICTURES.test(baseUrl + path);
}

/** Lets peers post to /v1/replication: bytes, up to the largest body that a region sends. */
function takeFromPeers(
  app: NestExpressApplication,
  peers: PeerAuthentication,
  isFromPeer: (request: IncomingMessage) => boolean,
): void {
  app.use('/v1/replication', (request: Request, _response: Response, next: NextFunction) => {
    if (request.method === 'POST') peers.authenticate(request);
    next();
  });
  app.useBodyParser('raw', { limit: REQUEST_BYTES_MAX, type: isFromPeer, inflate: false });
}

/**
 * The protocol promises gzip to clients that accept it. `compression` would send Brotli to clients that accept both; only files,
 * which are compressed before (static-files.ts), are sent in it.
 */
function compressByGzip(): RequestHandler {
  const compress = compression({ filter: mayCompress, threshold: 0 });
  return (request, response, next) => {
    if (request.headers['accept-encoding'] !== undefined) {
      response.locals['acceptEncoding'] = request.headers['accept-encoding'];
      request.headers['accept-encoding'] = request.acceptsEncodings('gzip') === false ? 'identity' : 'gzip';
    }
    compress(request, response, next);
  };
}

/** Never a stream: the compressor would delay its frames or lines, and take 256 KB for each stream. */
function mayCompress(request: Request, response: Response): boolean {
  return !STREAMS.has(response.getHeader('Content-Type')) && compression.filter(request, response);
}
