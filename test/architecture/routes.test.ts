import 'reflect-metadata';
import { expect, it } from '@jest/globals';
import { RequestMethod } from '@nestjs/common';
import { HttpModule } from '../../src/http/http.module.js';
import { ROUTES } from '../../src/http/openapi/routes.js';
import { ReplicationController } from '../../src/http/replication.controller.js';
import { OpsModule } from '../../src/ops/ops.module.js';

/** Express serves these, no controller. */
const WITHOUT_CONTROLLER = ['GET /docs', 'GET /docs-json'];

/** NestJS keeps the arguments of @Module as metadata, too. Routes between regions are not documented. */
function documentedControllers(): { readonly prototype: object }[] {
  const all = [HttpModule, OpsModule].flatMap(
    (module) => Reflect.getMetadata('controllers', module) as { readonly prototype: object }[],
  );
  return all.filter((controller) => controller !== ReplicationController);
}

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
  const documented = ROUTES.map(({ method, path }) => `${method} ${path}`);
  expect([...documented].sort()).toEqual([...documentedControllers().flatMap(routesOf), ...WITHOUT_CONTROLLER].sort());
});
