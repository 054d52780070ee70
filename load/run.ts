import { randomInt } from 'node:crypto';
import type { Load } from './arguments.js';
import { GatewayError, readTotals } from './counts.js';
import { Figures, type Row, type Summary } from './figures.js';
import { type Mistake, findMistakes, type Totals } from './ledger.js';
import { formatPostId, type ViewerComparison } from './messages.js';
import { type Progress, formatRow } from './terminal.js';
import { type Drained, Threads } from './threads.js';
import { judge, type Verdict } from './verdict.js';

/** 13 digits: together with the number of a connection they make an int64. */
const [RUN_MIN, RUN_END] = [10 ** 12, 10 ** 13];

/** The result of a run, written by `--json`. */
export interface Result {
  readonly load: Load;
  /** RFC 3339, UTC. */
  readonly startedAt: string;
  readonly verdict: Verdict;
  readonly mistakes: readonly Mistake[] | null;
  readonly shown: ViewerComparison | null;
  readonly unanswered: number;
  readonly unsent: number;
  readonly summary: Summary;
  /** CPU cores that this program used during the load. */
  readonly cores: number;
  readonly seconds: readonly Row[];
}

/** Deadline for all connections; the gateway may be busy or reject them for a while. */
const CONNECT_MAX_MS = 120_000;

/** A gateway that was reachable at the start may come back. */
const LAST_ATTEMPTS = 10;

/** The run failed; the message is one line for the user. */
export class RunError extends Error {}

/** One run, from the first connection to the verdict. */
export class Run {
  readonly #threads: Threads;
  readonly #figures: Figures;
  #startedMs: number | null = null;
  #finishedMs: number | null = null;

  constructor(
    private readonly load: Load,
    private readonly progress: Progress,
  ) {
    this.#threads = new Threads(load, randomInt(RUN_MIN, RUN_END));
    this.#figures = new Figures(load);
  }

  /** @throws GatewayError, ThreadError or RunError if the run fails */
  async execute(): Promise<Result> {
    try {
      return await this.#result();
    } finally {
      this.progress.clear();
      await this.#threads.end();
    }
  }

  /** Ends the schedule early; the verdict covers the operations up to then. */
  finish(): void {
    this.#finishedMs ??= performance.now();
    if (this.#startedMs !== null) this.#threads.finish();
  }

  async #result(): Promise<Result> {
    const before = await readTotals(this.load, 1);
    await this.#connect();
    const startedAt = new Date().toISOString();
    this.#startedMs = performance.now();
    const cpu = process.cpuUsage();
    const drained = this.#threads.untilDrained();
    this.#threads.start((second) => {
      const row = this.#figures.add(second);
      if (row !== null) this.progress.show(formatRow(row, this.load));
    });
    if (this.#finishedMs !== null) this.#threads.finish();
    const outcome = await drained;
    const tookMs = performance.now() - this.#startedMs;
    const { user, system } = process.cpuUsage(cpu);
    const after = await readTotals(this.load, LAST_ATTEMPTS).catch((error: unknown) => {
      if (error instanceof GatewayError) return null;
      throw error;
    });
    const shown = after === null ? null : await this.#threads.verify(after);
    const cores = (user + system) / 1_000 / tookMs;
    return this.#buildResult({ before, after, outcome, shown, startedAt, cores });
  }

  async #connect(): Promise<void> {
    const { viewers, likes, views, actors } = this.load;
    const all = viewers + (likes + views === 0 ? 0 : actors);
    let present = 0;
    const connected = this.#threads.connect((count) => {
      present = count;
      this.progress.show(`connecting ${count}/${all}`);
    });
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<never>((_, reject) => {
      const fail = (): void =>
        reject(new RunError(`only ${present} of ${all} connections were open after ${CONNECT_MAX_MS / 1_000} s`));
      timer = setTimeout(fail, CONNECT_MAX_MS);
    });
    try {
      await Promise.race([connected, tooLate]);
    } finally {
      clearTimeout(timer);
    }
  }

  #buildResult(seen: {
    before: readonly Totals[];
    after: readonly Totals[] | null;
    outcome: Drained;
    shown: ViewerComparison | null;
    startedAt: string;
    cores: number;
  }): Result {
    const { before, after, outcome, shown, startedAt, cores } = seen;
    const { load } = this;
    const { unanswered, unsent, expected } = outcome;
    const plannedS = load.rampS + load.durationS;
    const endS = this.#finishedMs === null ? plannedS : (this.#finishedMs - this.#startedMs!) / 1_000;
    const summary = this.#figures.summarize(endS);
    const ids = before.map((_, post) => formatPostId(load, post));
    const found = after === null ? null : findMistakes(ids, expected, before, after);
    const verdict = judge({ load, summary, mistakes: found, shown, unanswered, unsent });
    const seconds = this.#figures.rows;
    return { load, startedAt, verdict, mistakes: found, shown, unanswered, unsent, summary, cores, seconds };
  }
}
