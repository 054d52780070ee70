import { Controller, HttpCode, HttpStatus, Inject, Post, UseGuards } from '@nestjs/common';
import { SinkAdministration } from '../admin/sink-administration.js';
import { AdminAuthentication } from './admin-authentication.js';

/** Changes by operators of a running gateway. docs/operations.md lists them. */
@Controller('admin')
@UseGuards(AdminAuthentication)
export class AdminController {
  constructor(@Inject(SinkAdministration) private readonly sinks: SinkAdministration) {}

  @Post('sinks/off')
  @HttpCode(HttpStatus.OK)
  async turnSinksOff(): Promise<{ done: true }> {
    await this.sinks.off();
    return { done: true };
  }

  @Post('sinks/adopt')
  @HttpCode(HttpStatus.OK)
  async adoptStore(): Promise<{ done: true; sinks: string[] }> {
    return { done: true, sinks: await this.sinks.adopt() };
  }

  @Post('sinks/retry')
  @HttpCode(HttpStatus.OK)
  async retryDead(): Promise<{ done: true; rows: number }> {
    return { done: true, rows: await this.sinks.retryDead() };
  }
}
