import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NextFunction, Request, Response } from 'express';
import helmet from 'helmet';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';

/** Pages of the gateway load its own files only, and connect to it over HTTP and WebSockets. */
const OWN_FILES = {
  defaultSrc: ["'self'"],
  connectSrc: ["'self'", 'ws:', 'wss:'],
  objectSrc: ["'none'"],
  baseUri: ["'self'"],
  formAction: ["'self'"],
  frameAncestors: ["'self'"],
};
/** Swagger UI has style elements, and pictures inside its style sheet. */
const SWAGGER_UI = { ...OWN_FILES, styleSrc: ["'self'", "'unsafe-inline'"], imgSrc: ["'self'", 'data:'] };

/** TLS terminates in front of the gateway, so it demands neither HSTS nor an upgrade to https. */
export function addSecurityHeaders(app: NestExpressApplication): void {
  app.disable('x-powered-by');
  const headers = computeHeaders();
  app.use((_request: Request, response: Response, next: NextFunction) => {
    for (const [name, value] of headers) response.setHeader(name, value);
    next();
  });
}

export function allowSwaggerUi(app: NestExpressApplication): void {
  app.use('/docs', helmet.contentSecurityPolicy({ useDefaults: false, directives: SWAGGER_UI }));
}

/** Helmet's headers are the same for every response, and computing them takes longer than writing them. */
function computeHeaders(): readonly (readonly [string, string])[] {
  const headers: [string, string][] = [];
  const request = new IncomingMessage(new Socket());
  const response = new ServerResponse(request);
  response.setHeader = (name, value) => {
    headers.push([name, String(value)]);
    return response;
  };
  const addHeaders = helmet({
    contentSecurityPolicy: { useDefaults: false, directives: OWN_FILES },
    strictTransportSecurity: false,
  });
  addHeaders(request, response, (error) => {
    if (error !== undefined) throw error as Error;
  });
  return headers;
}
