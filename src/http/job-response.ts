import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Logger } from '@nestjs/common';
import type { Job, JobReport, JobRunner } from '../admin/job-runner.js';
import type { Clock, Timer } from '../common/clock.js';
import { errorBody, ProtocolError } from '../protocol/errors.js';

export const JOB_TYPE = 'application/x-ndjson';
/** Balancers and the gateway end a response on which nothing moves. */
const HEARTBEAT_MS = 15_000;

/**
 * Runs a long job for a request, and streams its reports as NDJSON. The last line is its summary with `"done":true`, or an `error`.
 * Empty lines are a heartbeat. The job ends when the client goes away.
 * @throws ProtocolError if the job fails before its first report
 */
export async function respondWithJob(
  response: ServerResponse,
  runner: JobRunner,
  job: Job,
  clock: Clock,
): Promise<void> {
  const client = new AbortController();
  response.once('close', () => client.abort());
  const heartbeat = new Heartbeat(response, clock);
  const report = (line: JobReport): Promise<void> => writeLine(response, line, client.signal);
  try {
    const summary = await runner.run(job, report, client.signal);
    await report({ done: true, ...summary });
    response.end();
  } catch (error) {
    // Nobody reads the error of a client that has gone away.
    if (client.signal.aborted) return;
    if (!response.headersSent) throw error;
    response.end(toLine({ error: toErrorBody(error) }));
  } finally {
    heartbeat.end();
  }
}

async function writeLine(response: ServerResponse, line: JobReport, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  start(response);
  if (!response.write(toLine(line))) await once(response, 'drain', { signal });
}

function start(response: ServerResponse): void {
  if (!response.headersSent) response.writeHead(200, { 'Content-Type': JOB_TYPE, 'Cache-Control': 'no-store' });
}

function toLine(line: JobReport): string {
  return `${JSON.stringify(line)}\n`;
}

function toErrorBody(error: unknown): JobReport {
  if (error instanceof ProtocolError) return { ...error.body };
  new Logger('admin').error(error);
  return { ...errorBody('UNAVAILABLE', 'the job failed, and its log says why; it may be repeated') };
}

class Heartbeat {
  #timer: Timer;

  constructor(
    private readonly response: ServerResponse,
    private readonly clock: Clock,
  ) {
    this.#timer = this.#next();
  }

  end(): void {
    this.#timer.cancel();
  }

  #next(): Timer {
    return this.clock.after(HEARTBEAT_MS, () => {
      start(this.response);
      // A client that reads nothing gets none: the gateway closes its connection.
      if (!this.response.writableNeedDrain) this.response.write('\n');
      this.#timer = this.#next();
    });
  }
}
