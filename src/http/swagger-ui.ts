import { join } from 'node:path';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { Request, Response } from 'express';
import type { OpenAPIV3_1 } from 'openapi-types';
import type { Metrics } from '../counters/metrics.js';
import { buildDocument } from './openapi/document.js';
import { serveFolder } from './static-files.js';

/** Its own would load the description of a foreign service. The badge of the validator would come from a foreign host. */
const INITIALIZER = `window.onload = () => {
  SwaggerUIBundle({ url: '../docs-json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null });
};
`;

/**
 * Swagger UI at /docs and the OpenAPI document at /docs-json, which is built on its first request. The files are served as
 * they come in their package: @nestjs/swagger would derive the document from decorators, and take a sixth of each boot.
 * @param assets the directory that the build has put Swagger UI's files into, as `docs`
 */
export function serveDocs(app: NestExpressApplication, metrics: Metrics, assets: string): void {
  const express = app.getHttpAdapter().getInstance();
  let document: OpenAPIV3_1.Document | null = null;
  express.get('/docs-json', (_request: Request, response: Response) => {
    response.json((document ??= buildDocument(metrics)));
  });
  express.get('/docs/swagger-initializer.js', (_request: Request, response: Response) => {
    response.type('js').send(INITIALIZER);
  });
  serveFolder(app, join(assets, 'docs'), { prefix: '/docs', servesIndex: true });
}
