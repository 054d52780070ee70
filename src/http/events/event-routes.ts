import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import { EventsController, type EventsResponse } from './events.controller.js';

const ACCEPTED_STATUS = 202;

/**
 * Takes events ahead of Nest's router, the body parsers and the files, which would cost a request more than a hundred events do. Errors
 * go to Nest's filter.
 * @param compress called before a response that may be long
 */
export function serveEvents(app: NestExpressApplication, compress: RequestHandler): void {
  const controller = app.get(EventsController);
  const express = app.getHttpAdapter().getInstance();
  express.post(
    '/v1/events',
    respondWith((request) => controller.postEvents(request), compress),
  );
  express.post(
    '/view',
    respondWith((request) => controller.postView(request), compress),
  );
}

function respondWith(accept: (request: Request) => Promise<EventsResponse>, compress: RequestHandler) {
  return (request: Request, response: Response, next: NextFunction): void => {
    accept(request).then(
      (body) => {
        response.status(ACCEPTED_STATUS);
        if (body.rejected.length === 0) sendShort(response, body);
        else compress(request, response, () => void response.json(body));
      },
      (error: unknown) => compress(request, response, () => next(error)),
    );
  };
}

/** Writes head and body at once. A body this short would become longer by compression. */
function sendShort(response: Response, body: EventsResponse): void {
  response.vary('Accept-Encoding');
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.end(JSON.stringify(body));
}
