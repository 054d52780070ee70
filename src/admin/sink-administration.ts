import { sleep } from '../common/sleep.js';
import { ProtocolError } from '../protocol/errors.js';
import { Audit, type AuditOptions } from '../sinks/audit.js';
import type { Drift } from '../sinks/audit-checks.js';
import {
  auditCountedMembers,
  hasAuditedMembers,
  type MembersAuditDrift,
  SinkMembersAudit,
} from '../sinks/audit-members.js';
import { SinkError } from '../sinks/sink.js';
import { type Sinks, SINKS_DUTY } from '../sinks/start-sinks.js';
import type { ChangeStore } from '../store/change-store.js';
import type { Job } from './job-runner.js';

/**
 * The lease of a gateway that has ended lasts for 2 s, and every other one with sinks asks for it within a second. So after this time only a
 * deployment without sinks has nobody with the lease; the rest is for slow machines.
 */
const LEASE_CHANGE_MAX_MS = 5_000;

/** A change of positions takes effect when the gateway that feeds the sink reads them. */
interface NoticedChange {
  readonly startsWithinMs: number;
}

/** Options of an audit that an operator demands. */
export interface AuditDemand {
  readonly repairs: boolean;
  readonly withMembers: boolean;
}

/** Changes of the sinks of a gateway by operators. */
export class SinkAdministration {
  constructor(
    private readonly store: ChangeStore,
    private readonly sinks: Sinks,
    private readonly options: Pick<AuditOptions, 'buckets' | 'metrics' | 'clock'>,
  ) {}

  /** Ends the recording of changes. @throws ProtocolError while a gateway feeds sinks, because it would start it again */
  async off(): Promise<void> {
    if (this.sinks.feeders.length > 0) {
      throw new ProtocolError('BAD_REQUEST', 'this gateway has SINK_URL: restart all gateways without it first');
    }
    if (!(await this.#isLeaseFree())) {
      throw new ProtocolError(
        'BAD_REQUEST',
        'another gateway feeds sinks: restart all gateways without SINK_URL first',
      );
    }
    await this.store.stopRecording();
  }

  /** Lets the sinks follow the store, even if it has less than they. @returns their names */
  async adopt(): Promise<NoticedChange & { readonly sinks: readonly string[] }> {
    const { feeders } = this.#requireSinks();
    for (const feeder of feeders) await reportSinkErrors(feeder.adopt());
    return { sinks: feeders.map(({ name }) => name), startsWithinMs: readNotice(feeders) };
  }

  /** Writes rows again that sinks rejected. @returns how many there were */
  async retryDead(): Promise<NoticedChange & { readonly rows: number }> {
    const { feeders } = this.#requireSinks();
    let rows = 0;
    for (const feeder of feeders) rows += await reportSinkErrors(feeder.retryDead());
    return { rows, startsWithinMs: readNotice(feeders) };
  }

  /**
   * Compares the sinks with the store. Its reports are what differs, and its summary has the figures of each sink.
   * @param repairs whether buckets in which something differs are sent again
   * @param withMembers whether members are compared, too: with what posts count, and with those of sinks that keep them
   */
  audit({ repairs, withMembers }: AuditDemand): Job {
    return async (report, signal) => {
      const sinks = await this.#requireSinks().connectAudited();
      try {
        if (sinks.length === 0) throw new ProtocolError('BAD_REQUEST', 'only PostgreSQL sinks can be audited');
        const reportDrift = (drift: Drift | MembersAuditDrift): Promise<void> => report({ ...drift });
        const options = { ...this.options, repairs, signal, report: reportDrift };
        const miscounted = withMembers ? await auditCountedMembers(this.store, options) : 0;
        const summaries = [];
        for (const sink of sinks) {
          const summary = await reportSinkErrors(new Audit(this.store, sink, options).run());
          const members =
            withMembers && hasAuditedMembers(sink)
              ? await reportSinkErrors(new SinkMembersAudit(this.store, sink, options).run())
              : null;
          summaries.push({ sink: sink.name, ...summary, ...(members !== null && { members }) });
          const syncedAgain = summary.syncedAgain + (members?.syncedAgain ?? 0);
          if (syncedAgain > 0) this.sinks.feeders.find(({ name }) => name === sink.name)?.recheck();
        }
        const drift = summaries.reduce((sum, one) => sum + one.drift + (one.members?.drift ?? 0), miscounted);
        return { sinks: summaries, ...(withMembers && { miscounted }), drift };
      } finally {
        await Promise.all(sinks.map((sink) => sink.close()));
      }
    };
  }

  /** Asks once, because it would get the lease before a gateway that feeds other sinks than the one that has ended. */
  async #isLeaseFree(): Promise<boolean> {
    await sleep(this.options.clock, LEASE_CHANGE_MAX_MS);
    return await this.store.acquireLease(SINKS_DUTY);
  }

  #requireSinks(): Sinks {
    if (this.sinks.feeders.length > 0) return this.sinks;
    throw new ProtocolError('BAD_REQUEST', 'this gateway has no SINK_URL: use a gateway that has it');
  }
}

function readNotice(feeders: Sinks['feeders']): number {
  return Math.max(...feeders.map(({ noticesWithinMs }) => noticesWithinMs));
}

/** @throws ProtocolError for a sink that is down or set up wrong; other errors as they are */
async function reportSinkErrors<T>(response: Promise<T>): Promise<T> {
  try {
    return await response;
  } catch (error) {
    if (error instanceof SinkError) throw new ProtocolError('UNAVAILABLE', error.message);
    throw error;
  }
}
