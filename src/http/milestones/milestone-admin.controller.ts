import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  HttpStatus,
  Inject,
  Logger,
  Put,
  Query,
  Res,
  UseGuards,
} from '@nestjs/common';
import type { Response } from 'express';
import { MilestoneAdministration } from '../../admin/milestone-administration.js';
import { SETTINGS } from '../../config/injection-tokens.js';
import type { HomeMode } from '../../counters/milestones.js';
import type { Settings } from '../../config/settings.js';
import { AdminAuthentication } from '../admin-authentication.js';
import { parseMilestoneBody, parseMilestoneInQuery, parsePost, parseStoredMetric } from '../parameters.js';
import { toWon, type WonMilestoneResponse } from './milestone-responses.js';

/** The milestones of a metric of a post that are armed, ascending. */
export interface ArmedResponse {
  readonly post: string;
  readonly metric: string;
  readonly armed: readonly number[];
}

/** The milestones of a metric of a post, by number, with their winners. */
export interface WonMilestonesResponse {
  readonly armed: readonly number[];
  readonly reached: readonly WonMilestoneResponse[];
  /** Only with other regions: the one that decides, or did last, … */
  readonly home?: string;
  /** … how, … */
  readonly mode?: HomeMode;
  /** … and those that have not confirmed it to this region. Nothing is decided before. */
  readonly waiting_for?: readonly string[];
}

/** Milestones for operators: docs/milestones.md. */
@Controller('admin/milestones')
@UseGuards(AdminAuthentication)
export class MilestoneAdminController {
  readonly #logger = new Logger('milestones');

  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(MilestoneAdministration) private readonly milestones: MilestoneAdministration,
  ) {}

  /** Responds when it is durable. @throws ProtocolError */
  @Put()
  async arm(@Body() body: unknown, @Res({ passthrough: true }) response: Response): Promise<ArmedResponse> {
    const { post, metric: name, at, ...request } = parseMilestoneBody(body);
    const metric = parseStoredMetric(name, this.settings.metrics);
    const { isNew, armed } = await this.milestones.arm(post, metric, at, request);
    if (isNew) {
      response.status(HttpStatus.CREATED);
      // The line about the request does not have its body.
      this.#logger.log(`${metric.name} of post ${post}: a milestone is armed at ${at}`);
    }
    return { post, metric: metric.name, armed };
  }

  /** Responds when it is durable, also if it was not armed. @throws ProtocolError */
  @Delete()
  @HttpCode(HttpStatus.NO_CONTENT)
  async disarm(@Query('post') id: unknown, @Query('metric') name: unknown, @Query('at') at: unknown): Promise<void> {
    const metric = parseStoredMetric(name, this.settings.metrics);
    await this.milestones.disarm(parsePost(id), metric, parseMilestoneInQuery(at));
  }

  /** @throws ProtocolError */
  @Get()
  async read(@Query('post') id: unknown, @Query('metric') name: unknown): Promise<WonMilestonesResponse> {
    const metric = parseStoredMetric(name, this.settings.metrics);
    const { armed, reached, home, waitingFor } = await this.milestones.read(parsePost(id), metric);
    const shared = home && { home: home.region, mode: home.mode, waiting_for: waitingFor };
    return { armed, reached: reached.map(toWon), ...shared };
  }
}
