import { randomBytes } from 'node:crypto';
import type { MilestoneAdministration } from '../../admin/milestone-administration.js';
import type { Clock } from '../../common/clock.js';
import type { Metric } from '../../counters/metrics.js';
import { ProtocolError } from '../../protocol/errors.js';

/** The view that wins. */
const AT = 100;
const INTERVAL_MS = 1_000;
/** Raffles that are armed at a time. Those of an earlier run of the gateway stay armed beside them. */
const ARMED_MAX = 20;
const ID_BYTES = 8;

interface Raffle {
  readonly post: string;
  readonly at: number;
}

/** Raffles of the demo: new posts with a milestone. Anybody may start one, so they are limited. */
export class Raffles {
  readonly #armed: string[] = [];
  #nextMs = 0;

  constructor(
    private readonly milestones: MilestoneAdministration,
    private readonly views: Metric,
    private readonly clock: Clock,
  ) {}

  /** @throws ProtocolError */
  async start(): Promise<Raffle> {
    const nowMs = this.clock.nowMs();
    if (nowMs < this.#nextMs) {
      const message = 'a gateway starts one raffle a second; retry';
      throw new ProtocolError('RATE_LIMITED', message, Math.ceil(this.#nextMs - nowMs));
    }
    this.#nextMs = nowMs + INTERVAL_MS;
    const post = `raffle-${randomBytes(ID_BYTES).toString('hex')}`;
    await this.milestones.arm(post, this.views, AT);
    this.#armed.push(post);
    if (this.#armed.length > ARMED_MAX) await this.milestones.disarm(this.#armed.shift()!, this.views, AT);
    return { post, at: AT };
  }
}
