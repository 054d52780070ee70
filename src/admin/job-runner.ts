import { ProtocolError } from '../protocol/errors.js';

/** Progress of a long job, or its outcome. */
export type JobReport = Readonly<Record<string, unknown>>;

/**
 * A long job of an operator. It waits for each report, so that it is not faster than its reader, and ends soon after the signal is
 * aborted. It may be repeated from any point.
 * @returns its summary
 */
export type Job = (report: (line: JobReport) => Promise<void>, signal: AbortSignal) => Promise<JobReport>;

/** Another job may end within some seconds or within an hour. */
const RETRY_MS = 10_000;

/** Runs the long jobs of this gateway one at a time, so that they do not starve its clients. */
export class JobRunner {
  #isRunning = false;

  /** @throws ProtocolError OVERLOADED while another job runs */
  async run(job: Job, report: (line: JobReport) => Promise<void>, signal: AbortSignal): Promise<JobReport> {
    if (this.#isRunning) {
      throw new ProtocolError('OVERLOADED', 'this gateway runs another job: retry after its end', RETRY_MS);
    }
    this.#isRunning = true;
    try {
      return await job(report, signal);
    } finally {
      this.#isRunning = false;
    }
  }
}
