import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { NotFoundException } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NextFunction, Request, Response } from 'express';
import { respondToClientError, acceptAnyExpectation } from './client-error.js';
import { limitConnectionTimes } from './connection-times.js';
import { pathPattern } from './openapi/routes.js';

const FOR_OPERATORS = pathPattern('OPS_PORT');
/** Balancers probe the port that they send requests to, supervisors either. */
const FOR_BOTH_PORTS = pathPattern('both');

/**
 * A separate port for operators (OPS_PORT), which a firewall or a balancer can close. It serves the routes for operators and no
 * others, and the main port no longer serves them.
 */
export class OperatorPort {
  readonly server: Server;
  readonly #requests = new WeakSet<IncomingMessage>();

  /**
   * Create it before the routes: its middleware must run first.
   * @param basePath that of the main port, whose routes are below it; those of this port are not
   */
  constructor(app: NestExpressApplication, keepAliveMs: number, basePath: string) {
    const handle = app.getHttpAdapter().getInstance() as (request: IncomingMessage, response: ServerResponse) => void;
    this.server = createServer((request, response) => {
      this.#requests.add(request);
      request.url = basePath + request.url!;
      handle(request, response);
    });
    this.server.on('clientError', respondToClientError);
    acceptAnyExpectation(this.server);
    limitConnectionTimes(this.server, keepAliveMs);
    app.use((request: Request, _response: Response, next: NextFunction) => {
      const { path } = request;
      if (!FOR_BOTH_PORTS.test(path) && FOR_OPERATORS.test(path) !== this.#requests.has(request))
        throw new NotFoundException();
      next();
    });
  }

  /** @returns its URL. @param port 0 takes a free one, the same in all workers */
  async listen(port: number, host: string): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, host, resolve);
    });
    const address = this.server.address();
    const listening = typeof address === 'object' && address !== null ? address.port : port;
    return `http://${host.includes(':') ? `[${host}]` : host}:${listening}`;
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}
