import { Worker } from 'node:worker_threads';
import type { Load } from './arguments.js';
import { type Expected, sumExpected, type Totals } from './ledger.js';
import type { ThreadCommand, ThreadReport, Second, ThreadAssignment, ViewerComparison } from './messages.js';

/** The gateway rejected a request for good, or a thread failed. */
export class ThreadError extends Error {}

/** Long enough for the command to reach all threads. */
const START_AFTER_MS = 100;

/** The outcome of all operations when none waits any more. */
export interface Drained {
  readonly expected: Expected;
  readonly unanswered: number;
  readonly unsent: number;
}

/** The threads that create the load. */
export class Threads {
  readonly #workers: readonly Worker[];
  readonly #connected: number[];
  /** Rejects when the first thread fails. */
  readonly #failed: Promise<never>;

  constructor(load: Load, run: number) {
    this.#workers = Array.from({ length: load.threads }, (_, thread) => {
      const share: ThreadAssignment = { load, run, thread };
      return new Worker(new URL('./worker.js', import.meta.url), { workerData: share });
    });
    this.#connected = this.#workers.map(() => 0);
    this.#failed = Promise.race(this.#workers.map(rejectOnFailure));
    // Callers that wait get the rejection; without one it must not end the process.
    this.#failed.catch(() => undefined);
  }

  /** Opens all connections; `progress` is called with the number of open ones. */
  async connect(progress: (connections: number) => void): Promise<void> {
    const listening = this.#listen('connected', (thread, { connections }) => {
      this.#connected[thread] = connections;
      progress(this.#connected.reduce((sum, count) => sum + count, 0));
    });
    const ready = this.#receiveAll('ready');
    this.#send({ kind: 'connect' });
    await ready;
    listening.end();
  }

  start(onSecond: (second: Second) => void): void {
    this.#listen('second', (_, { second }) => onSecond(second));
    this.#send({ kind: 'start', atMs: Date.now() + START_AFTER_MS });
  }

  finish(): void {
    this.#send({ kind: 'finish' });
  }

  /** Resolves when the schedule has ended and no operation waits, or the time for that is over. */
  async untilDrained(): Promise<Drained> {
    const reports = await this.#receiveAll('drained');
    return {
      expected: sumExpected(reports.map(({ expected }) => expected)),
      unanswered: reports.reduce((sum, { unanswered }) => sum + unanswered, 0),
      unsent: reports.reduce((sum, { unsent }) => sum + unsent, 0),
    };
  }

  /** Compares what viewers show with these totals, after some seconds for their last frames. */
  async verify(totals: readonly Totals[]): Promise<ViewerComparison> {
    const reports = this.#receiveAll('verified');
    this.#send({ kind: 'verify', totals });
    const comparisons = (await reports).map(({ shown }) => shown);
    const sum = (name: 'stale' | 'read' | 'adrift' | 'backwards'): number =>
      comparisons.reduce((total, { [name]: count }) => total + count, 0);
    return {
      stale: sum('stale'),
      staleExamples: [...new Set(comparisons.flatMap(({ staleExamples }) => staleExamples))],
      read: sum('read'),
      adrift: sum('adrift'),
      backwards: sum('backwards'),
    };
  }

  async end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #send(order: ThreadCommand): void {
    for (const worker of this.#workers) worker.postMessage(order);
  }

  #listen<Kind extends ThreadReport['kind']>(
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

  /** Resolves with one report of each thread. */
  async #receiveAll<Kind extends ThreadReport['kind']>(kind: Kind): Promise<Extract<ThreadReport, { kind: Kind }>[]> {
    const reports = new Map<number, Extract<ThreadReport, { kind: Kind }>>();
    const { promise, resolve } = deferred();
    const listening = this.#listen(kind, (thread, report) => {
      reports.set(thread, report);
      if (reports.size === this.#workers.length) resolve();
    });
    await Promise.race([promise, this.#failed]);
    listening.end();
    return [...reports.values()];
  }
}

function isOfKind<Kind extends ThreadReport['kind']>(
  report: ThreadReport,
  kind: Kind,
): report is Extract<ThreadReport, { kind: Kind }> {
  return report.kind === kind;
}

function rejectOnFailure(worker: Worker): Promise<never> {
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
