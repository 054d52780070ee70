import type { Clock } from '../common/clock.js';
import type { Metrics } from '../counters/metrics.js';
import { type EventLog, LOG_PARTITIONS } from '../log/event-log.js';
import type { LogProgress, PartitionProgress } from '../log/log-progress.js';
import { ProtocolError } from '../protocol/errors.js';
import { DeadLetterRetry } from './dead-letter-retry.js';
import type { Job, JobReport } from './job-runner.js';

export interface LogAdministrationOptions {
  readonly buckets: number;
  readonly metrics: Metrics;
  readonly clock: Clock;
}

/** The log of events for operators. */
export class LogAdministration {
  constructor(
    private readonly log: EventLog | null,
    private readonly progress: LogProgress | null,
    private readonly options: LogAdministrationOptions,
  ) {}

  /** How much is in the log, and how much of it waits. Partitions in which nothing waits are left out. */
  async status(): Promise<JobReport> {
    const { url } = this.#requireLog();
    const { log, eventsMax, partitions } = await reportLogErrors(this.progress!.measure());
    const sum = (read: (one: PartitionProgress) => number): number =>
      partitions.reduce((total, one) => total + read(one), 0);
    const nowMs = this.options.clock.wallMs();
    const behind = partitions.filter(({ waitingEvents }) => waitingEvents > 0);
    return {
      log,
      server: url,
      events: sum(({ events }) => events),
      eventsMax,
      waiting: sum(({ waitingEvents }) => waitingEvents),
      dead: sum(({ deadLetters }) => deadLetters),
      deadDropped: sum(({ droppedDeadLetters }) => droppedDeadLetters),
      partitions: behind.map(({ partition, waitingEvents, oldestWaitingAtMs }) => ({
        partition,
        waiting: waitingEvents,
        lagSeconds: oldestWaitingAtMs === null ? null : Math.max(0, Math.round((nowMs - oldestWaitingAtMs) / 1_000)),
      })),
    };
  }

  /** Reports dead letters, those of a partition oldest first. */
  listDeadLetters(limit: number): Job {
    return async (report, signal) => {
      const log = this.#requireLog();
      let listed = 0;
      for (let partition = 0; partition < LOG_PARTITIONS && listed < limit && !signal.aborted; partition++) {
        const letters = await reportLogErrors(log.listDeadLetters(partition, limit - listed));
        for (const { offset, index, reason, event } of letters) {
          await report({ partition, offset: `${offset}:${index}`, reason, event });
        }
        listed += letters.length;
      }
      return { listed };
    };
  }

  /** Appends dead letters again that can be counted now. Its reports are those that cannot. */
  retryDeadLetters(): Job {
    return async (report, signal) => {
      const retry = new DeadLetterRetry(this.#requireLog(), this.options);
      return await reportLogErrors(retry.run(report, signal));
    };
  }

  #requireLog(): EventLog {
    if (this.log !== null) return this.log;
    throw new ProtocolError('BAD_REQUEST', 'this gateway has no LOG_URL: use a gateway that has it');
  }
}

/** @throws ProtocolError for a log that is down */
async function reportLogErrors<T>(response: Promise<T>): Promise<T> {
  try {
    return await response;
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw new ProtocolError('UNAVAILABLE', `the log: ${(error as Error).message}`);
  }
}
