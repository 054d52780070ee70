import { Controller, HttpCode, HttpStatus, Inject, Post, Query, Res, UseGuards } from '@nestjs/common';
import type { Response } from 'express';
import { JobRunner } from '../admin/job-runner.js';
import { LogAdministration } from '../admin/log-administration.js';
import { SinkAdministration } from '../admin/sink-administration.js';
import type { Clock } from '../common/clock.js';
import { CLOCK } from '../config/injection-tokens.js';
import { ProtocolError } from '../protocol/errors.js';
import { AdminAuthentication } from './admin-authentication.js';
import { respondWithJob } from './job-response.js';

/** Dead letters that are listed if a request does not say how many. */
const LIMIT = 100;

/** Changes by operators of a running gateway. docs/operations.md lists them. */
@Controller('admin')
@UseGuards(AdminAuthentication)
export class AdminController {
  constructor(
    @Inject(SinkAdministration) private readonly sinks: SinkAdministration,
    @Inject(LogAdministration) private readonly log: LogAdministration,
    @Inject(JobRunner) private readonly jobs: JobRunner,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** @throws ProtocolError */
  @Post('audit')
  async audit(
    @Query('repair') repair: unknown,
    @Query('members') members: unknown,
    @Res() response: Response,
  ): Promise<void> {
    const demand = { repairs: parseSwitch('repair', repair), withMembers: parseSwitch('members', members) };
    await respondWithJob(response, this.jobs, this.sinks.audit(demand), this.clock);
  }

  @Post('sinks/off')
  @HttpCode(HttpStatus.OK)
  async turnSinksOff(): Promise<{ done: true }> {
    await this.sinks.off();
    return { done: true };
  }

  @Post('sinks/adopt')
  @HttpCode(HttpStatus.OK)
  async adoptStore(): Promise<object> {
    return { done: true, ...(await this.sinks.adopt()) };
  }

  @Post('sinks/retry')
  @HttpCode(HttpStatus.OK)
  async retryDead(): Promise<object> {
    return { done: true, ...(await this.sinks.retryDead()) };
  }

  @Post('log/status')
  @HttpCode(HttpStatus.OK)
  async readLogStatus(): Promise<object> {
    return { done: true, ...(await this.log.status()) };
  }

  /** @throws ProtocolError */
  @Post('log/dead')
  async listDeadLetters(@Query('limit') limit: unknown, @Res() response: Response): Promise<void> {
    await respondWithJob(response, this.jobs, this.log.listDeadLetters(parseLimit(limit)), this.clock);
  }

  @Post('log/retry')
  async retryDeadLetters(@Res() response: Response): Promise<void> {
    await respondWithJob(response, this.jobs, this.log.retryDeadLetters(), this.clock);
  }
}

/** @throws ProtocolError */
function parseLimit(value: unknown): number {
  if (value === undefined) return LIMIT;
  if (typeof value === 'string' && /^[1-9]\d{0,5}$/.test(value)) return Number(value);
  throw new ProtocolError('BAD_REQUEST', 'limit must be a whole number from 1 to 999999');
}

/** @throws ProtocolError */
function parseSwitch(name: string, value: unknown): boolean {
  if (value !== undefined && value !== 'true' && value !== 'false') {
    throw new ProtocolError('BAD_REQUEST', `${name} must be true or false`);
  }
  return value === 'true';
}
