import { randomInt } from 'node:crypto';
import type { Load } from './arguments.js';
import { GatewayError, readTotals } from './counts.js';
import { Figures, type Row, type Summary } from './figures.js';
import { type Mistake, findMistakes, type Totals } from './ledger.js';
import { formatPostId, type ViewerComparison } from './messages.js';
import { type Progress, formatRow } from './terminal.js';
import { type Drained, Threads } from './threads.js';
import { judge, type Verdict } from './verdict.js';

/** 13 digits, which with those of a connection's number are an int64. */
const [RUN_MIN, RUN_END] = [10 ** 12, 10 ** 13];

/** All there is to tell of a run. */
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
  /** What this program took of the machine while the load went on. */
  readonly cores: number;
  readonly seconds: readonly Row[];
}

/** For all connections; the gateway may be busy, or refuse for a while. */
const CONNECT_MAX_MS = 120_000;

/** A gateway that was there in the beginning may come back. */
const LAST_ATTEMPTS = 10;

/** The run cannot be done; the message is one line for the user. */
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

  /** @throws GatewayError, ThreadError or RunError when it cannot be done. */
  async execute(): Promise<Result> {
    try {
      return await this.#result();
    } finally {
      this.progress.clear();
      await this.#threads.end();
    }
  }

  /** Ends the schedule early; the verdict is about what was done up to then. */
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
    const books = await drained;
    const tookMs = performance.now() - this.#startedMs;
    const { user, system } = process.cpuUsage(cpu);
    const after = await readTotals(this.load, LAST_ATTEMPTS).catch((error: unknown) => {
      if (error instanceof GatewayError) return null;
      throw error;
    });
    const shown = after === null ? null : await this.#threads.verify(after);
    const cores = (user + system) / 1_000 / tookMs;
    return this.#told({ before, after, books, shown, startedAt, cores });
  }

  async #connect(): Promise<void> {
    const { viewers, likes, views, actors } = this.load;
    const all = viewers + (likes + views === 0 ? 0 : actors);
    let present = 0;
    const connected = this.#threads.untilConnected((count) => {
      present = count;
      this.progress.show(`connecting ${count}/${all}`);
    });
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<never>((_, reject) => {
      const fail = (): void =>
        reject(new RunError(`only ${present} of ${all} connections were there after ${CONNECT_MAX_MS / 1_000} s`));
      timer = setTimeout(fail, CONNECT_MAX_MS);
    });
    try {
      await Promise.race([connected, tooLate]);
    } finally {
      clearTimeout(timer);
    }
  }

  #told(seen: {
    before: readonly Totals[];
    after: readonly Totals[] | null;
    books: Drained;
    shown: ViewerComparison | null;
    startedAt: string;
    cores: number;
  }): Result {
    const { before, after, books, shown, startedAt, cores } = seen;
    const { load } = this;
    const { unanswered, unsent, expected } = books;
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
