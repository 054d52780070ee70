import 'reflect-metadata';
import { expect, it } from '@jest/globals';
import { RequestMethod } from '@nestjs/common';
import { CountersController } from '../../src/http/counters.controller.js';
import { ROUTES } from '../../src/http/openapi/paths.js';
import { RegionsController } from '../../src/http/regions.controller.js';
import { StreamController } from '../../src/http/stream.controller.js';
import { OpsController } from '../../src/ops/ops.controller.js';

/** Express serves these, no controller. */
const WITHOUT_CONTROLLER = ['GET /docs', 'GET /docs-json'];

/** NestJS keeps the arguments of its decorators as metadata of the class and of its methods. */
function routesOf(controller: { readonly prototype: object }): string[] {
  const prefix = String(Reflect.getMetadata('path', controller));
  return Object.getOwnPropertyNames(controller.prototype).flatMap((name) => {
    const handler = Reflect.get(controller.prototype, name) as object;
    const method = Reflect.getMetadata('method', handler) as RequestMethod | undefined;
    if (method === undefined) return [];
    const segments = `/${prefix}/${String(Reflect.getMetadata('path', handler))}`.replace(/\/+/g, '/');
    const path = segments.replace(/(.)\/$/, '$1').replace(/:(\w+)/g, '{$1}');
    return `${RequestMethod[method]} ${path}`;
  });
}

it('the documented routes are those of the controllers', () => {
  const controllers = [CountersController, StreamController, RegionsController, OpsController];
  const documented = ROUTES.map(({ method, path }) => `${method} ${path}`);
  expect([...documented].sort()).toEqual([...controllers.flatMap(routesOf), ...WITHOUT_CONTROLLER].sort());
});
