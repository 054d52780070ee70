import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Worker } from 'node:worker_threads';
import { type Client, closeClients, connect, granted, untilConnected } from '../support/clients.js';
import type { Seen, Viewers } from '../support/clients-viewers.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { threadOf } from '../support/thread.js';

const VIEWERS = 1_000;
const VIEWS_PER_SECOND = 2_000;
const SECONDS = 5;
const VIEWS = VIEWS_PER_SECOND * SECONDS;
const SENDERS = 20;
const SEND_EVERY_MS = 10;
const TICK_MS = 100;
/** What the end may take beyond a tick: a commit's announcement, and a pass over all viewers. */
const BEYOND_TICK_MS = 50;
const FRAMES_IN_A_SECOND_MAX = 11;
const LIMIT_MS = 60_000;

describe(`${VIEWERS} viewers of one post, under ${VIEWS_PER_SECOND} views a second`, () => {
  let seen: Seen;
  let endMs: number;
  let worker: Worker;

  beforeAll(async () => {
    const gateway = await startGateway({ MAX_OPS_PER_CONNECTION: '0' });
    const viewers: Viewers = { url: gateway.url, post: 'stage', count: VIEWERS, views: VIEWS };
    worker = threadOf('clients-viewers.ts', viewers);
    const failed = once(worker, 'error').then(([error]) => Promise.reject(error as Error));
    await Promise.race([once(worker, 'message'), failed]);
    const end = once(worker, 'message') as Promise<[Seen]>;
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    endMs = await send(gateway);
    delay.disable();
    [seen] = await Promise.race([end, failed]);
    process.stderr.write(
      `${VIEWERS} viewers, ${VIEWS_PER_SECOND} views a second: the last viewer showed the end ` +
        `${(seen.lastAtMs - endMs).toFixed(1)} ms after the last acknowledgement, with at most ${seen.framesInASecond} ` +
        `frames in a second; kept from their sockets were the viewers' thread for ${seen.starvedMs.toFixed(1)} ms at most, ` +
        `the senders' for ${(delay.max / 1e6).toFixed(1)} ms\n`,
    );
  }, LIMIT_MS);

  afterAll(async () => {
    await worker.terminate();
    await closeClients();
    await stopAll();
  });

  it(`get at most ${FRAMES_IN_A_SECOND_MAX} frames in any second`, () => {
    expect(seen.framesInASecond).toBeLessThanOrEqual(FRAMES_IN_A_SECOND_MAX);
  });

  it(`all show the exact total within a tick and ${BEYOND_TICK_MS} ms of the end`, () => {
    expect(seen.lastAtMs - endMs).toBeLessThanOrEqual(TICK_MS + BEYOND_TICK_MS);
  });

  it('are told changes that add up to the change of the totals, frame by frame', () => {
    expect(seen.adrift).toBe(0);
  });
});

/** Sends at an even pace, catching up where a timer was late. @returns when the last was acknowledged. */
async function send({ url }: GatewayProcess): Promise<number> {
  const sockets = Array.from({ length: SENDERS }, () => connect(url));
  await Promise.all(sockets.map(untilConnected));
  const answers: Promise<unknown>[] = [];
  const from = performance.now();
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(VIEWS, Math.floor(((performance.now() - from) / 1000) * VIEWS_PER_SECOND));
      while (answers.length < due) answers.push(view(sockets[answers.length % SENDERS]!));
      if (due < VIEWS) return;
      clearInterval(timer);
      resolve();
    }, SEND_EVERY_MS);
  });
  await Promise.all(answers);
  return Number(process.hrtime.bigint()) / 1e6;
}

async function view(socket: Client): Promise<void> {
  granted(await socket.emitWithAck('view', { post: 'stage' }));
}
