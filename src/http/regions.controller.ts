import { Controller, Get, Inject, Req } from '@nestjs/common';
import type { Request } from 'express';
import { Authenticator } from '../access/authenticator.js';
import { REPLICATION, SETTINGS } from '../config/injection-tokens.js';
import type { Settings } from '../config/settings.js';
import type { Replication } from '../replication/start-replication.js';
import type { LinkStatus } from '../replication/transport/peer.js';
import { parseTokenOnly } from './parameters.js';
import { ReadLimiter } from './read-limiter.js';

/** The state of the link to another region: LinkStatus, with a readable time. */
export type PeerStatusResponse = Omit<LinkStatus, 'sinceMs'> & { readonly since: string | null };

/** The links to other regions, for operators. Everybody who may read counts may read it. */
@Controller('v1/regions')
export class RegionsController {
  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(REPLICATION) private readonly replication: Replication,
    @Inject(Authenticator) private readonly authenticator: Authenticator,
    @Inject(ReadLimiter) private readonly reads: ReadLimiter,
  ) {}

  @Get()
  async readStatus(@Req() request: Request): Promise<{ region: string; peers: PeerStatusResponse[] }> {
    this.reads.admit(request, 0);
    await this.authenticator.identify(parseTokenOnly(request.headers), null);
    const peers = this.replication.linkStatuses().map(toPeerStatus);
    return { region: this.settings.region, peers };
  }
}

function toPeerStatus({ sinceMs, ...status }: LinkStatus): PeerStatusResponse {
  return { ...status, since: sinceMs === null ? null : new Date(sinceMs).toISOString() };
}
