import type { NestExpressApplication } from '@nestjs/platform-express';
import compression from 'compression';
import type { NextFunction, Request, Response } from 'express';
import helmet from 'helmet';
import type { IncomingMessage } from 'node:http';
import { AddressLimiter } from '../access/address-limiter.js';
import { OriginPolicy } from '../access/origin-policy.js';
import { SuspicionLog } from '../access/suspicions.js';
import type { Clock } from '../common/clock.js';
import { ProtocolError } from '../protocol/errors.js';
import { MESSAGE_BYTES_MAX } from '../protocol/limits.js';
import { REQUEST_BYTES_MAX } from '../replication/transport/request-splitter.js';
import type { Settings } from '../config/settings.js';
import { CLOCK, SETTINGS } from '../config/injection-tokens.js';
import { respondToClientError, acceptAnyExpectation } from './client-error.js';
import { serveClientScript } from './client-script.js';
import { limitConnectionTimes } from './connection-times.js';
import { serveDocs } from './swagger-ui.js';
import { OperatorPort } from './operator-port.js';
import { serializeRequests } from './one-at-a-time.js';
import { PeerAuthentication } from './peer-authentication.js';
import { ProtocolErrorFilter } from './protocol-error.filter.js';
import { chargeRequests } from './request-charge.js';

/** How long a browser may remember what a preflight allowed, in seconds. */
const PREFLIGHT_MAX_AGE_S = 600;

/** Pages that the gateway serves load its own files and nothing else, and talk to it over HTTP and WebSockets. */
const OWN_FILES = {
  defaultSrc: ["'self'"],
  connectSrc: ["'self'", 'ws:', 'wss:'],
  objectSrc: ["'none'"],
  baseUri: ["'self'"],
  formAction: ["'self'"],
  frameAncestors: ["'self'"],
};
/** Swagger UI brings style elements and pictures inside its style sheet. */
const SWAGGER_UI = { ...OWN_FILES, styleSrc: ["'self'", "'unsafe-inline'"], imgSrc: ["'self'", 'data:'] };

/**
 * Sets up everything around the routes: headers, compression, CORS, the limit on bodies, errors, /docs and /client. To be called
 * once, before the application listens; it must have been created with `bodyParser: false`, because its parser takes 100 KB.
 * @param assets the directory of the files that the build has made for browsers
 * @returns the port of operators, which has yet to listen; `null`: there is none
 */
export function configureHttp(app: NestExpressApplication, assets: string): OperatorPort | null {
  const settings = app.get<Settings>(SETTINGS);
  if (settings.trustProxy.length > 0) app.set('trust proxy', [...settings.trustProxy]);
  // Answers of /v1 are never cached, so hashing them would buy nothing.
  app.set('etag', false);
  app.set('query parser', 'simple');

  app.use(serializeRequests);
  const peers = app.get(PeerAuthentication);
  const isFromPeer = (request: IncomingMessage): boolean => peers.authenticatedRegion(request) !== undefined;
  app.use(chargeRequests(app.get(AddressLimiter), app.get(SuspicionLog), app.get<Clock>(CLOCK), isFromPeer));
  secure(app);
  const operators = settings.opsPort === null ? null : new OperatorPort(app, settings.keepAliveMs);
  app.use(gzipOnly, compression({ filter: mayCompress, threshold: 0 }));
  guard(app, app.get(OriginPolicy));
  takeFromPeers(app, peers, isFromPeer);
  // Whatever it says it is: `curl -d` calls JSON a form. Pages cannot use that, since PUT is always preflighted.
  app.useBodyParser('json', { limit: MESSAGE_BYTES_MAX, type: () => true });
  serveDocs(app, settings.metrics, assets);
  serveClientScript(app, assets);
  app.useGlobalFilters(new ProtocolErrorFilter());
  const server = app.getHttpServer();
  server.on('clientError', respondToClientError);
  acceptAnyExpectation(server);
  limitConnectionTimes(server, settings.keepAliveMs);
  return operators;
}

/** TLS, if any, ends before the gateway: neither HSTS nor an upgrade to https is its to ask for. */
function secure(app: NestExpressApplication): void {
  app.use(
    helmet({
      contentSecurityPolicy: { useDefaults: false, directives: OWN_FILES },
      strictTransportSecurity: false,
    }),
  );
  app.use('/docs', helmet.contentSecurityPolicy({ useDefaults: false, directives: SWAGGER_UI }));
}

function guard(app: NestExpressApplication, origins: OriginPolicy): void {
  app.enableCors({
    origin: (origin: string | undefined, answer: (error: Error | null, allow: boolean) => void) =>
      answer(null, origin !== undefined && origins.isListed(origin)),
    methods: ['GET', 'PUT'],
    allowedHeaders: ['Authorization', 'Actor-Id', 'Idempotency-Key', 'Content-Type'],
    exposedHeaders: ['Retry-After'],
    maxAge: PREFLIGHT_MAX_AGE_S,
  });
  app.use('/v1', (request: Request, response: Response, next: NextFunction) => {
    response.setHeader('Cache-Control', 'no-store');
    // CORS only hides the answer from a page; what it must not do has to be refused before it is done.
    const refused = origins.findRejection(request);
    if (refused !== null) throw new ProtocolError('FORBIDDEN', refused);
    next();
  });
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

/** The protocol promises gzip to those who take it, for any answer; `compression` would give brotli to those who take both. */
function gzipOnly(request: Request, _response: Response, next: NextFunction): void {
  if (request.headers['accept-encoding'] !== undefined) {
    request.headers['accept-encoding'] = request.acceptsEncodings('gzip') === false ? 'identity' : 'gzip';
  }
  next();
}

/** An event stream is not: the compressor would hold its frames back, and keep 256 KB for each. */
function mayCompress(request: Request, response: Response): boolean {
  return response.getHeader('Content-Type') !== 'text/event-stream' && compression.filter(request, response);
}
