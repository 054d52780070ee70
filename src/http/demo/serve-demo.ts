import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NextFunction, Request, Response } from 'express';
import { OriginPolicy } from '../../access/origin-policy.js';
import { MilestoneAdministration } from '../../admin/milestone-administration.js';
import type { Clock } from '../../common/clock.js';
import { CLOCK, SETTINGS } from '../../config/injection-tokens.js';
import type { Settings } from '../../config/settings.js';
import { ProtocolError } from '../../protocol/errors.js';
import { serveFolder } from '../static-files.js';
import { Raffles } from './raffles.js';

const RAFFLE_PATH = '/demo/raffle';

/**
 * Serves the pages of the demo at the root. With the page of the raffle it serves `POST /demo/raffle` → `{ post, at }`, because no page has
 * the token of an operator.
 * @param folder the directory that the build has put the demo into
 */
export function serveDemo(app: NestExpressApplication, folder: string): void {
  serveFolder(app, folder, { prefix: '/', servesIndex: true });
  const { metrics } = app.get<Settings>(SETTINGS);
  const views = metrics.list.find(({ name }) => name === 'views');
  if (views === undefined || !existsSync(join(folder, 'raffle'))) return;
  const raffles = new Raffles(app.get(MilestoneAdministration), views, app.get<Clock>(CLOCK));
  const origins = app.get(OriginPolicy);
  app.use(RAFFLE_PATH, (request: Request, response: Response, next: NextFunction) => {
    if (request.method !== 'POST' || request.path !== '/') {
      next();
      return;
    }
    const rejection = origins.findRejection(request);
    if (rejection !== null) throw new ProtocolError('FORBIDDEN', rejection);
    raffles.start().then((raffle) => response.status(201).json(raffle), next);
  });
}
