import { Controller, Get, Inject, Param, Req } from '@nestjs/common';
import type { Request } from 'express';
import { SETTINGS } from '../../config/injection-tokens.js';
import type { Settings } from '../../config/settings.js';
import type { MilestonesView } from '../../store/milestone-store.js';
import { CountReader } from '../count-reader.js';
import { parseMetric, parsePost } from '../parameters.js';
import { ProtocolError } from '../../protocol/errors.js';
import { type ReachedMilestoneResponse, toReached } from './milestone-responses.js';

/** The milestones of a metric of a post, by number. Armed ones are above the count. */
export interface MilestonesResponse {
  readonly armed: readonly number[];
  readonly reached: readonly (ReachedMilestoneResponse & { readonly mine?: true })[];
  /** Only with other regions, where this one does not decide: `armed` may lack numbers that another region has armed. */
  readonly partial?: true;
}

/** Milestones for everybody who may read counts: without the winners, except that an actor learns whether it is one. */
@Controller('v1')
export class MilestonesController {
  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(CountReader) private readonly reader: CountReader,
  ) {}

  @Get(':post/:metric/milestones')
  async getMilestones(
    @Req() request: Request,
    @Param('post') id: string,
    @Param('metric') name: string,
  ): Promise<MilestonesResponse> {
    const post = parsePost(id);
    const metric = parseMetric(name, this.settings.metrics);
    if (metric === null) throw new ProtocolError('BAD_REQUEST', 'metric must be another one: live has no milestones');
    const { milestones, actor } = await this.reader.readMilestones(request, post, metric);
    const reached = milestones.reached.map((one) => {
      const isMine = actor !== null && one.actor?.lo === actor.lo && one.actor.hi === actor.hi;
      return { ...toReached(one), ...(isMine && { mine: true as const }) };
    });
    return { armed: milestones.armed, reached, ...(this.#isPartial(milestones) && { partial: true as const }) };
  }

  #isPartial({ home }: MilestonesView): boolean {
    const { peers, region } = this.settings;
    const decidesHere = home !== null && home.region === region && home.mode !== 'released';
    return peers.length > 0 && !decidesHere;
  }
}
