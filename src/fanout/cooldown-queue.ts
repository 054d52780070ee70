import type { Clock, Timer } from '../common/clock.js';
import type { Viewer } from './viewer.js';

/** This long those who are written to in one go join one cohort, which waits for the last of them: fewer, longer passes. */
const COHORT_MS = 4;

interface Cohort {
  readonly begunAtMs: number;
  dueAtMs: number;
  readonly viewers: Viewer[];
}

/**
 * Viewers that had a frame less than a tick ago. They leave in the order they came, so that those who came when the tick
 * was longer delay the others: a queue of cohorts, which are those that were written to in one go, and one timer,
 * whatever the number of viewers.
 */
export class CooldownQueue {
  readonly #cohorts: Cohort[] = [];
  #timer: Timer | null = null;

  constructor(
    private readonly clock: Clock,
    private readonly tempo: { tickMs(nowMs: number): number },
    private readonly due: (viewers: readonly Viewer[]) => void,
  ) {}

  /**
   * @param nowMs not before the last of them was written to
   * @param goesOn those before them were written to just now, in the same go
   */
  add(viewers: Viewer[], nowMs: number, goesOn: boolean): void {
    const tickMs = this.tempo.tickMs(nowMs);
    const last = this.#cohorts.at(-1);
    if (goesOn && last !== undefined && nowMs - last.begunAtMs < COHORT_MS) {
      last.dueAtMs = nowMs + tickMs;
      for (const viewer of viewers) last.viewers.push(viewer);
    } else this.#cohorts.push({ begunAtMs: nowMs, dueAtMs: nowMs + tickMs, viewers });
    this.#timer ??= this.clock.after(tickMs, () => this.#release());
  }

  #release(): void {
    const now = this.clock.nowMs();
    const waiting = this.#cohorts.findIndex(({ dueAtMs }) => dueAtMs > now);
    const due = this.#cohorts.splice(0, waiting === -1 ? this.#cohorts.length : waiting);
    const head = this.#cohorts[0];
    this.#timer = head === undefined ? null : this.clock.after(head.dueAtMs - now, () => this.#release());
    for (const { viewers } of due) this.due(viewers);
  }
}
