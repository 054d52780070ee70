import { parentPort, workerData } from 'node:worker_threads';
import type { Load } from './arguments.js';
import { Crowd } from './crowd.js';
import type { Totals } from './ledger.js';
import { formatPostId, type ThreadCommand, type ThreadReport, type ThreadAssignment } from './messages.js';
import { Meter } from './meter.js';
import { Schedule } from './schedule.js';

/** Interval of schedule checks. Operations are late by half of it on average, which their latency includes. */
const CHECK_INTERVAL_MS = 1;
const SECOND_MS = 1_000;
const PROGRESS_INTERVAL_MS = 250;
/** Time for waiting operations after the schedule has ended. */
const DRAIN_MAX_MS = 30_000;
/** Time for the last frames to reach the viewers: many ticks. */
const LAST_FRAMES_MAX_MS = 5_000;
const POLL_INTERVAL_MS = 20;

/**
 * One thread's load as an open system: operations are sent when they are due, even if acknowledgements are slow, and
 * latency is measured from when they were due. In a closed system a stalled gateway would get fewer requests, and the
 * waits of users would be left out ("coordinated omission": Gil Tene, How NOT to Measure Latency;
 * https://github.com/giltene/wrk2#readme. Open and closed systems: Schroeder et al., NSDI 2006).
 */
class Thread {
  readonly #meter = new Meter((message) => report({ kind: 'fatal', message }));
  readonly #load: Load;
  readonly #crowd: Crowd;
  readonly #schedules: { readonly metric: 'likes' | 'views'; readonly schedule: Schedule; next: number }[];
  #nextActor = 0;
  #startMs = 0;
  #checkedMs = 0;
  #second = 0;
  #isFinished = false;

  constructor(share: ThreadAssignment) {
    const { load, thread } = share;
    this.#load = load;
    this.#crowd = new Crowd(share, this.#meter);
    this.#schedules = (['likes', 'views'] as const).map((metric) => ({
      metric,
      schedule: new Schedule(load[metric], load.rampS, load.durationS),
      next: thread,
    }));
  }

  async connect(): Promise<void> {
    const reportProgress = (): void => report({ kind: 'connected', connections: this.#crowd.ready });
    const timer = setInterval(reportProgress, PROGRESS_INTERVAL_MS);
    await this.#crowd.connect();
    clearInterval(timer);
    reportProgress();
    report({ kind: 'ready' });
  }

  start(atMs: number): void {
    this.#meter.takeSecond(0);
    this.#startMs = this.#checkedMs = atMs - performance.timeOrigin;
    setInterval(() => this.#runSchedule(), CHECK_INTERVAL_MS);
  }

  async finish(): Promise<void> {
    if (this.#isFinished) return;
    this.#isFinished = true;
    await until(() => this.#crowd.isIdle, DRAIN_MAX_MS);
    const waiting = this.#crowd.actors.flatMap((actor) => [...actor.unacknowledged]);
    const unanswered = waiting.filter(({ wasSent }) => wasSent);
    report({
      kind: 'drained',
      expected: this.#crowd.ledger.computeExpected(unanswered),
      unanswered: unanswered.length,
      unsent: waiting.length - unanswered.length,
    });
  }

  async verify(totalsByPost: readonly Totals[]): Promise<void> {
    const totals = new Map(totalsByPost.map((counts, post) => [formatPostId(this.#load, post), counts]));
    await until(() => this.#crowd.compareViewers(totals).stale === 0, LAST_FRAMES_MAX_MS);
    this.#reportSecond();
    report({ kind: 'verified', shown: this.#crowd.compareViewers(totals) });
  }

  #runSchedule(): void {
    const nowMs = performance.now();
    this.#meter.lagMs = Math.max(this.#meter.lagMs, nowMs - this.#checkedMs - CHECK_INTERVAL_MS);
    this.#checkedMs = nowMs;
    while (nowMs - this.#startMs >= (this.#second + 1) * SECOND_MS) this.#reportSecond();
    if (this.#isFinished) return;
    for (const stream of this.#schedules) {
      for (; stream.next < stream.schedule.total; stream.next += this.#load.threads) {
        const dueMs = this.#startMs + stream.schedule.dueMs(stream.next);
        if (dueMs > nowMs) break;
        this.#meter.due += 1;
        this.#crowd.actors[this.#nextActor++ % this.#crowd.actors.length]!.act(stream.metric, dueMs);
      }
    }
    if (nowMs - this.#startMs >= (this.#load.rampS + this.#load.durationS) * SECOND_MS) void this.finish();
  }

  #reportSecond(): void {
    report({ kind: 'second', second: this.#meter.takeSecond(this.#second) });
    this.#second += 1;
  }
}

function report(message: ThreadReport): void {
  parentPort!.postMessage(message);
}

async function until(reached: () => boolean, limitMs: number): Promise<void> {
  const end = performance.now() + limitMs;
  while (!reached() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
}

const share = workerData as ThreadAssignment;
const thread = new Thread(share);
parentPort!.on('message', (order: ThreadCommand) => {
  if (order.kind === 'connect') void thread.connect();
  else if (order.kind === 'start') thread.start(order.atMs);
  else if (order.kind === 'finish') void thread.finish();
  else void thread.verify(order.totals);
});
