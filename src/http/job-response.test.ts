import { afterEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Job, JobRunner } from '../admin/job-runner.js';
import { systemClock } from '../common/clock.js';
import { ProtocolError } from '../protocol/errors.js';
import { until } from '../../test/support/until.js';
import { respondWithJob } from './job-response.js';

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** @returns the URL at which each request runs the job; an error before the first line has status 500 */
async function serve(job: Job, runner = new JobRunner()): Promise<string> {
  const server = createServer((_request, response) => {
    respondWithJob(response, runner, job, systemClock).catch((error: unknown) => {
      response.writeHead(500).end(error instanceof ProtocolError ? error.body.code : String(error));
    });
  });
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function readLines(response: Response): Promise<unknown[]> {
  const text = await response.text();
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

describe('the response of a long job', () => {
  it('a job streams its reports, and ends with its summary', async () => {
    const url = await serve(async (report) => {
      await report({ posts: 1 });
      await report({ posts: 2 });
      return { total: 2 };
    });
    const response = await fetch(url);
    expect(response.headers.get('content-type')).toBe('application/x-ndjson');
    expect(await readLines(response)).toEqual([{ posts: 1 }, { posts: 2 }, { done: true, total: 2 }]);
  });

  it('a job that fails before its first report has an ordinary error', async () => {
    const url = await serve(() => Promise.reject(new ProtocolError('BAD_REQUEST', 'wrong')));
    const response = await fetch(url);
    expect([response.status, await response.text()]).toEqual([500, 'BAD_REQUEST']);
  });

  it('a job that fails later ends with a line that has the error', async () => {
    const url = await serve(async (report) => {
      await report({ posts: 1 });
      throw new ProtocolError('UNAVAILABLE', 'the sink is down');
    });
    const error = { code: 'UNAVAILABLE', message: 'the sink is down', retryable: true };
    expect(await readLines(await fetch(url))).toEqual([{ posts: 1 }, { error }]);
  });

  it('a second job is OVERLOADED until the first one has ended', async () => {
    let end = (): void => undefined;
    const url = await serve(async (report) => {
      await report({ started: true });
      await new Promise<void>((resolve) => (end = resolve));
      return {};
    });
    const first = await fetch(url);
    const second = await fetch(url);
    expect([second.status, await second.text()]).toEqual([500, 'OVERLOADED']);
    end();
    expect(await readLines(first)).toEqual([{ started: true }, { done: true }]);
    const third = await fetch(url);
    end();
    expect(await readLines(third)).toEqual([{ started: true }, { done: true }]);
  });

  it('a job ends when its client goes away, even while the client reads nothing', async () => {
    let reason = '';
    const url = await serve(async (report) => {
      try {
        for (;;) await report({ text: 'x'.repeat(10_000) });
      } catch (error) {
        reason = (error as Error).name;
        throw error;
      }
    });
    const [response] = (await once(get(url), 'response')) as [IncomingMessage];
    await once(response, 'readable');
    response.destroy();
    await until(() => reason !== '', 'the job has ended');
    expect(reason).toBe('AbortError');
  });
});
