import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { closeClients, LedgerClient } from '../support/clients.js';
import { HASTY } from '../support/clients-crowd.js';
import type { End, Returned, Returning } from '../support/clients-returning.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { threadOf } from '../support/thread.js';
import { until } from '../support/until.js';

const VIEWERS = 4_000;
const THREADS = 2;
const SENDERS = 4;
const VIEW_EVERY_MS = 200;
const BEFORE_MS = 1_000;
/** The load goes on until most have come back. */
const AFTER_MS = 2_000;
const SHOWN_WITHIN_MS = 5_000;
/** The lease of the gateway that was killed, and two sweeps. */
const TAKEN_BACK_WITHIN_MS = 10_000;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const LIMIT_MS = 120_000;

describe(`${VIEWERS} viewers of one post on two gateways, of which one is killed (TEST_SEED=${SEED})`, () => {
  let survivor: GatewayProcess;
  let threads: Worker[] = [];
  let killedAtMs: number;
  let returned: Returned[];

  beforeAll(async () => {
    const redis = await startRedis();
    const gateways = await Promise.all([0, 1].map(() => startGateway({ REDIS_URL: redis.url })));
    const urls = gateways.map(({ url }) => url);
    survivor = gateways[1]!;
    threads = Array.from({ length: THREADS }, (_, i) => {
      const viewers: Returning = { urls, post: 'stage', count: VIEWERS / THREADS, seed: SEED + i };
      return threadOf('clients-returning.ts', viewers);
    });
    await Promise.all(threads.map((thread) => said(thread)));

    const senders = Array.from({ length: SENDERS }, (_, i) => new LedgerClient(urls[i % 2]!, `actor-${i}`, HASTY));
    let views = 0;
    const load = setInterval(
      () => senders[(views += 1) % SENDERS]!.act({ event: 'view', post: 'stage' }),
      VIEW_EVERY_MS,
    );
    await lasting(BEFORE_MS);
    killedAtMs = nowMs();
    void gateways[0]!.kill('SIGKILL');
    for (const { socket } of senders) (socket.io as unknown as { uri: string }).uri = survivor.url;
    await lasting(AFTER_MS);
    clearInterval(load);
    const ended = Promise.all(threads.map((thread) => said(thread) as Promise<Returned>));
    await Promise.all(senders.map((sender) => sender.settled()));
    const end: End = { views };
    for (const thread of threads) thread.postMessage(end);
    returned = await ended;
    process.stderr.write(
      `${VIEWERS} viewers, half of their gateways killed: the last one was back ` +
        `${after(({ returnedAtMs }) => returnedAtMs)} s after it, and the last one showed the end ` +
        `${after(({ shownAtMs }) => shownAtMs)} s after it; kept from their sockets were the viewers' threads for ` +
        `${Math.max(...returned.map(({ starvedMs }) => starvedMs)).toFixed(0)} ms at most, and ` +
        `${returned.reduce((sum, { failures }) => sum + failures, 0)} attempts to connect failed\n`,
    );
  }, LIMIT_MS);

  afterAll(async () => {
    await Promise.all(threads.map((thread) => thread.terminate()));
    await closeClients();
    await stopAll();
    await stopRedis();
  });

  it(`all show the exact count within ${SHOWN_WITHIN_MS / 1000} s of the kill`, () => {
    for (const { shownAtMs } of returned) expect(shownAtMs - killedAtMs).toBeLessThanOrEqual(SHOWN_WITHIN_MS);
  });

  it('lose their connection once, those that were on that gateway, and the others never', () => {
    const losses = returned.flatMap(({ losses }) => losses);
    expect(losses.filter((times) => times === 1)).toHaveLength(VIEWERS / 2);
    expect(losses.filter((times) => times > 1)).toHaveLength(0);
  });

  it(
    'are as many as before once the lease of the killed gateway has run out',
    async () => {
      const live = async (): Promise<number> => {
        const response = await fetch(`${survivor.url}/v1/stage/live`);
        return ((await response.json()) as { count: number }).count;
      };
      await until(async () => (await live()) === VIEWERS, `${VIEWERS} viewers`, TAKEN_BACK_WITHIN_MS);
    },
    LIMIT_MS,
  );

  function after(at: (thread: Returned) => number): string {
    return ((Math.max(...returned.map(at)) - killedAtMs) / 1000).toFixed(1);
  }
});

/** The thread's next message. */
async function said(thread: Worker): Promise<unknown> {
  const failed = once(thread, 'error').then(([error]) => Promise.reject(error as Error));
  const [message] = (await Promise.race([once(thread, 'message'), failed])) as [unknown];
  return message;
}

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Not a wait for anything: the load goes on for so long. */
function lasting(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
