import { Controller, Get, Header, HttpCode, HttpStatus, Inject, Res } from '@nestjs/common';
import type { Response } from 'express';
import type { CounterStore } from '../store/counter-store.js';
import type { Replication } from '../replication/regions.js';
import { REPLICATION, STORE } from '../config/injection-tokens.js';
import { Drain } from './drain.js';
import { Instruments } from './instruments.js';

/** For those who run the gateway: is it alive, should it get traffic, how is it doing. */
@Controller()
export class OpsController {
  constructor(
    @Inject(STORE) private readonly store: CounterStore,
    @Inject(REPLICATION) private readonly regions: Replication | null,
    @Inject(Drain) private readonly drain: Drain,
    @Inject(Instruments) private readonly instruments: Instruments,
  ) {}

  @Get('healthz')
  @HttpCode(HttpStatus.OK)
  healthz(): { status: string } {
    return { status: 'ok' };
  }

  @Get('readyz')
  readyz(@Res({ passthrough: true }) response: Response): { status: string } {
    if (this.drain.hasBegun) return unready(response, 'the gateway is closing');
    if (!this.store.available) return unready(response, 'the store does not answer');
    if (this.regions?.backfilling === true)
      return unready(response, 'the store is being filled from the other regions');
    return { status: 'ok' };
  }

  @Get('metrics')
  @Header('Cache-Control', 'no-store')
  async metrics(@Res() response: Response): Promise<void> {
    const text = await this.instruments.page();
    response.type(this.instruments.registry.contentType).send(text);
  }
}

function unready(response: Response, status: string): { status: string } {
  response.status(HttpStatus.SERVICE_UNAVAILABLE);
  return { status };
}
