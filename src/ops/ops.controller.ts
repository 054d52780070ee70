import { Controller, Get, Header, HttpCode, HttpStatus, Inject, Res } from '@nestjs/common';
import type { Response } from 'express';
import { ClosingFlag } from '../common/closing-flag.js';
import { GATEWAY_CLOSING } from '../protocol/errors.js';
import type { CounterStore } from '../store/counter-store.js';
import type { Replication } from '../replication/start-replication.js';
import { METRICS_PAGE, REPLICATION, STORE } from '../config/injection-tokens.js';
import { type MetricsPage, Prometheus } from './prometheus.js';

/** Liveness, readiness and Prometheus metrics, for operators. */
@Controller()
export class OpsController {
  constructor(
    @Inject(STORE) private readonly store: CounterStore,
    @Inject(REPLICATION) private readonly replication: Replication,
    @Inject(ClosingFlag) private readonly lifecycle: ClosingFlag,
    @Inject(Prometheus) private readonly prometheus: Prometheus,
    @Inject(METRICS_PAGE) private readonly metricsPage: MetricsPage,
  ) {}

  @Get('healthz')
  @HttpCode(HttpStatus.OK)
  healthz(): { status: string } {
    return { status: 'ok' };
  }

  @Get('readyz')
  readyz(@Res({ passthrough: true }) response: Response): { status: string } {
    if (this.lifecycle.isClosing) return unready(response, GATEWAY_CLOSING);
    if (!this.store.available) return unready(response, 'the store does not answer');
    if (this.replication.isBackfilling) return unready(response, 'other regions backfill the store');
    return { status: 'ok' };
  }

  @Get('metrics')
  @Header('Cache-Control', 'no-store')
  async metrics(@Res() response: Response): Promise<void> {
    response.type(this.prometheus.registry.contentType).send(await this.metricsPage());
  }
}

function unready(response: Response, status: string): { status: string } {
  response.status(HttpStatus.SERVICE_UNAVAILABLE);
  return { status };
}
