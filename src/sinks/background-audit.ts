import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import type { Metrics } from '../counters/metrics.js';
import type { ChangeStore } from '../store/change-store.js';
import { type AuditArm, type AuditStep, RowsArm, SumsArm } from './audit-arms.js';
import { AuditChecks, type Drift } from './audit-checks.js';
import type { AuditedSink } from './audited-sink.js';
import { describeDrift, DriftCounts } from './drift-counts.js';
import type { Feeder } from './feeder.js';

/** No arm rests for a shorter time. */
const TICK_MS = 1_000;
/** After a step an arm rests this many times as long as the step took, so that large tables keep their database busy for a tenth at most. */
const REST_PER_WORK = 9;
/** A step that failed is done again after this. */
const FAILED_REST_MS = 30_000;

const ARMS: readonly Drift['arm'][] = ['sums', 'rows'];

export interface BackgroundAuditOptions {
  readonly buckets: number;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly warn: (message: string) => void;
}

/** How much an arm has found. */
export interface DriftFigure {
  readonly arm: Drift['arm'];
  readonly metric: string;
  readonly count: number;
}

interface RunningArm {
  readonly arm: AuditArm;
  restMs: number;
  /** The last message about failures in a row. */
  warned: string;
}

/**
 * Audits a sink all the time while this gateway feeds it. It has a connection of its own, so that the feeder never waits for it, and waits
 * itself while the sink is down, halted or not yet complete.
 */
export class BackgroundAudit {
  #counts: ReadonlyMap<Drift['arm'], DriftCounts>;
  readonly #closing = new AbortController();
  #running: Promise<void> = Promise.resolve();
  /** While this gateway feeds the sink. */
  #sink: AuditedSink | null = null;

  constructor(
    private readonly store: Pick<ChangeStore, 'changesSince' | 'readAll'>,
    private readonly feeder: Pick<Feeder, 'name' | 'status'>,
    private readonly connect: () => Promise<AuditedSink>,
    private readonly options: BackgroundAuditOptions,
  ) {
    this.#counts = this.#newCounts();
  }

  get sinkName(): string {
    return this.feeder.name;
  }

  /** One for each arm and metric; none while another gateway feeds the sink. */
  get figures(): DriftFigure[] {
    if (!this.feeder.status.isFed) return [];
    return [...this.#counts].flatMap(([arm, counts]) =>
      this.options.metrics.list.map(({ name }) => ({ arm, metric: name, count: counts.count(name) })),
    );
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Ends a step that runs. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#sink?.close();
    await this.#running;
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      if (this.feeder.status.isFed) await this.#auditWhileFed();
      await this.#rest();
    }
  }

  /** Until the lease is lost. The next gateway begins with the first bucket and the first post. */
  async #auditWhileFed(): Promise<void> {
    const sink = await this.connect();
    this.#sink = sink;
    const arms = this.#createArms(sink).map((arm): RunningArm => ({ arm, restMs: 0, warned: '' }));
    try {
      while (this.feeder.status.isFed && !this.#isClosed) {
        for (const running of arms) {
          running.restMs -= TICK_MS;
          if (running.restMs <= 0 && this.#mayAudit) running.restMs = await this.#step(running);
        }
        await this.#rest();
      }
    } finally {
      this.#sink = null;
      this.#counts = this.#newCounts();
      await sink.close();
    }
  }

  #createArms(sink: AuditedSink): AuditArm[] {
    const { buckets, clock } = this.options;
    const checks = new AuditChecks(this.store, sink, this.options);
    const rows = new RowsArm(
      this.store,
      checks,
      buckets,
      () => clock.nowMs(),
      () => this.feeder.status.currentAtMs,
    );
    return [new SumsArm(checks, buckets), rows];
  }

  get #mayAudit(): boolean {
    const { isFed, isUp, haltedBuckets, currentAtMs } = this.feeder.status;
    return isFed && isUp && haltedBuckets === 0 && currentAtMs !== null && !this.#isClosed;
  }

  /** @returns how long the arm rests */
  async #step(running: RunningArm): Promise<number> {
    const startedAtMs = this.options.clock.nowMs();
    try {
      const step = await running.arm.step();
      running.warned = '';
      this.#report(running.arm.name, step);
      return Math.max(step.restMs, REST_PER_WORK * (this.options.clock.nowMs() - startedAtMs));
    } catch (error) {
      this.#reportFailure(running, error);
      return FAILED_REST_MS;
    }
  }

  #report(arm: Drift['arm'], step: AuditStep): void {
    const news = this.#counts.get(arm)!.add(step);
    if (news === null) return;
    this.options.warn(
      `${this.sinkName}: it differs from the store: ${describeDrift(news, this.options.metrics)}. To list all differences: tallycast ` +
        'audit; to write the posts of their buckets again: tallycast audit --repair',
    );
  }

  /** Once in a row, and not for a sink that the feeder reports as down. */
  #reportFailure(running: RunningArm, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (message === running.warned || !this.#mayAudit) return;
    running.warned = message;
    this.options.warn(
      `${this.sinkName}: the audit of ${running.arm.name} is tried again every half a minute: ${message}`,
    );
  }

  #rest(): Promise<void> {
    return sleep(this.options.clock, TICK_MS, this.#closing.signal);
  }

  #newCounts(): ReadonlyMap<Drift['arm'], DriftCounts> {
    return new Map(ARMS.map((arm) => [arm, new DriftCounts(this.options.metrics)]));
  }
}
