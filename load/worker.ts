import { parentPort, workerData } from 'node:worker_threads';
import type { Load } from './arguments.js';
import { Crowd } from './crowd.js';
import type { Totals } from './ledger.js';
import { formatPostId, type ThreadCommand, type ThreadReport, type ThreadAssignment } from './messages.js';
import { Meter } from './meter.js';
import { Schedule } from './schedule.js';

/** How often the schedule is looked at. An operation is late by half of it on average, which its latency includes. */
const LOOK_EVERY_MS = 1;
const SECOND_MS = 1_000;
const PROGRESS_EVERY_MS = 250;
/** For what still waits when the schedule has ended. */
const DRAIN_MAX_MS = 30_000;
/** For the last frames to reach the viewers: many ticks. */
const LAST_FRAMES_MAX_MS = 5_000;
const ASK_AGAIN_MS = 20;

/**
 * One thread's share of the load, as an open system: operations are sent when they are due, however slow the answers
 * are, and latency counts from when they were due. Else a gateway that stalls would be asked less, and the waiting that
 * users would have had be left out ("coordinated omission": Gil Tene, How NOT to Measure Latency;
 * https://github.com/giltene/wrk2#readme. Open and closed systems: Schroeder et al., NSDI 2006).
 */
class Thread {
  readonly #meter = new Meter((message) => report({ kind: 'fatal', message }));
  readonly #load: Load;
  readonly #crowd: Crowd;
  readonly #schedules: { readonly metric: 'likes' | 'views'; readonly schedule: Schedule; next: number }[];
  #turn = 0;
  #startMs = 0;
  #lookedMs = 0;
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
    const tell = (): void => report({ kind: 'connected', connections: this.#crowd.ready });
    const timer = setInterval(tell, PROGRESS_EVERY_MS);
    await this.#crowd.connect();
    clearInterval(timer);
    tell();
    report({ kind: 'ready' });
  }

  start(atMs: number): void {
    this.#meter.takeSecond(0);
    this.#startMs = this.#lookedMs = atMs - performance.timeOrigin;
    setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  async finish(): Promise<void> {
    if (this.#isFinished) return;
    this.#isFinished = true;
    await until(() => this.#crowd.isIdle, DRAIN_MAX_MS);
    const waiting = this.#crowd.actors.flatMap((actor) => [...actor.waiting]);
    const unanswered = waiting.filter(({ wasSent }) => wasSent);
    report({
      kind: 'drained',
      expected: this.#crowd.ledger.computeExpected(unanswered),
      unanswered: unanswered.length,
      unsent: waiting.length - unanswered.length,
    });
  }

  async verify(list: readonly Totals[]): Promise<void> {
    const totals = new Map(list.map((counts, post) => [formatPostId(this.#load, post), counts]));
    await until(() => this.#crowd.compareViewers(totals).stale === 0, LAST_FRAMES_MAX_MS);
    this.#tellSecond();
    report({ kind: 'verified', shown: this.#crowd.compareViewers(totals) });
  }

  #look(): void {
    const nowMs = performance.now();
    this.#meter.lagMs = Math.max(this.#meter.lagMs, nowMs - this.#lookedMs - LOOK_EVERY_MS);
    this.#lookedMs = nowMs;
    while (nowMs - this.#startMs >= (this.#second + 1) * SECOND_MS) this.#tellSecond();
    if (this.#isFinished) return;
    for (const stream of this.#schedules) {
      for (; stream.next < stream.schedule.total; stream.next += this.#load.threads) {
        const dueMs = this.#startMs + stream.schedule.dueMs(stream.next);
        if (dueMs > nowMs) break;
        this.#meter.due += 1;
        this.#crowd.actors[this.#turn++ % this.#crowd.actors.length]!.act(stream.metric, dueMs);
      }
    }
    if (nowMs - this.#startMs >= (this.#load.rampS + this.#load.durationS) * SECOND_MS) void this.finish();
  }

  #tellSecond(): void {
    report({ kind: 'second', second: this.#meter.takeSecond(this.#second) });
    this.#second += 1;
  }
}

function report(message: ThreadReport): void {
  parentPort!.postMessage(message);
}

async function until(reached: () => boolean, limitMs: number): Promise<void> {
  const end = performance.now() + limitMs;
  while (!reached() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
}

const share = workerData as ThreadAssignment;
const thread = new Thread(share);
parentPort!.on('message', (order: ThreadCommand) => {
  if (order.kind === 'start') thread.start(order.atMs);
  else if (order.kind === 'finish') void thread.finish();
  else void thread.verify(order.totals);
});
void thread.connect();
