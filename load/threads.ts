import { Worker } from 'node:worker_threads';
import type { Load } from './arguments.js';
import { type Expected, sumExpected, type Totals } from './ledger.js';
import type { ThreadCommand, ThreadReport, Second, ThreadAssignment, ViewerComparison } from './messages.js';

/** The gateway refuses what is asked of it, or a thread failed. */
export class ThreadError extends Error {}

/** Far enough away for all threads to hear of it. */
const START_AFTER_MS = 100;

/** What was done in all, when nothing waits any more. */
export interface Drained {
  readonly expected: Expected;
  readonly unanswered: number;
  readonly unsent: number;
}

/** The threads that make the load. */
export class Threads {
  readonly #workers: readonly Worker[];
  readonly #connected: number[];
  /** Settled by the first thread that fails. */
  readonly #failed: Promise<never>;

  constructor(load: Load, run: number) {
    this.#workers = Array.from({ length: load.threads }, (_, thread) => {
      const share: ThreadAssignment = { load, run, thread };
      return new Worker(new URL('./worker.js', import.meta.url), { workerData: share });
    });
    this.#connected = this.#workers.map(() => 0);
    this.#failed = Promise.race(this.#workers.map(failureOf));
    // Whoever waits hears of it; when nobody does, it is not wanted.
    this.#failed.catch(() => undefined);
  }

  /** Resolves when all connections are there; `progress` is told how many are. */
  async untilConnected(progress: (connections: number) => void): Promise<void> {
    const told = this.#each('connected', (thread, { connections }) => {
      this.#connected[thread] = connections;
      progress(this.#connected.reduce((sum, count) => sum + count, 0));
    });
    await this.#all('ready');
    told.end();
  }

  start(onSecond: (second: Second) => void): void {
    this.#each('second', (_, { second }) => onSecond(second));
    this.#tell({ kind: 'start', atMs: Date.now() + START_AFTER_MS });
  }

  finish(): void {
    this.#tell({ kind: 'finish' });
  }

  /** Resolves when the schedule has ended, and nothing waits any more, or not for much longer. */
  async untilDrained(): Promise<Drained> {
    const reports = await this.#all('drained');
    return {
      expected: sumExpected(reports.map(({ expected }) => expected)),
      unanswered: reports.reduce((sum, { unanswered }) => sum + unanswered, 0),
      unsent: reports.reduce((sum, { unsent }) => sum + unsent, 0),
    };
  }

  /** What viewers show, compared with these totals; they are given some seconds for their last frames. */
  async verify(totals: readonly Totals[]): Promise<ViewerComparison> {
    const reports = this.#all('verified');
    this.#tell({ kind: 'verify', totals });
    const parts = (await reports).map(({ shown }) => shown);
    const sum = (name: 'stale' | 'read' | 'adrift' | 'backwards'): number =>
      parts.reduce((total, { [name]: count }) => total + count, 0);
    return {
      stale: sum('stale'),
      staleExamples: [...new Set(parts.flatMap(({ staleExamples }) => staleExamples))],
      read: sum('read'),
      adrift: sum('adrift'),
      backwards: sum('backwards'),
    };
  }

  async end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #tell(order: ThreadCommand): void {
    for (const worker of this.#workers) worker.postMessage(order);
  }

  #each<Kind extends ThreadReport['kind']>(
    kind: Kind,
    take: (thread: number, report: Extract<ThreadReport, { kind: Kind }>) => void,
  ): { end: () => void } {
    const listeners = this.#workers.map((worker, thread) => {
      const listener = (report: ThreadReport): void => {
        if (isOfKind(report, kind)) take(thread, report);
      };
      worker.on('message', listener);
      return () => worker.off('message', listener);
    });
    return { end: () => listeners.forEach((end) => end()) };
  }

  /** Of each thread one. */
  async #all<Kind extends ThreadReport['kind']>(kind: Kind): Promise<Extract<ThreadReport, { kind: Kind }>[]> {
    const reports = new Map<number, Extract<ThreadReport, { kind: Kind }>>();
    const { promise, resolve } = deferred();
    const told = this.#each(kind, (thread, report) => {
      reports.set(thread, report);
      if (reports.size === this.#workers.length) resolve();
    });
    await Promise.race([promise, this.#failed]);
    told.end();
    return [...reports.values()];
  }
}

function isOfKind<Kind extends ThreadReport['kind']>(
  report: ThreadReport,
  kind: Kind,
): report is Extract<ThreadReport, { kind: Kind }> {
  return report.kind === kind;
}

function failureOf(worker: Worker): Promise<never> {
  return new Promise((_, reject) => {
    worker.on('error', (error) => reject(new ThreadError(`a thread failed: ${error.stack ?? error.message}`)));
    worker.on('message', (report: ThreadReport) => {
      if (report.kind === 'fatal') reject(new ThreadError(report.message));
    });
  });
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((res) => (resolve = res));
  return { promise, resolve };
}
