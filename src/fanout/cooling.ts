import type { Clock, Timer } from '../clock.js';
import type { Viewer } from './viewer.js';

interface Cohort {
  readonly dueAtMs: number;
  readonly viewers: readonly Viewer[];
}

/**
 * Viewers that had a frame less than a tick ago. They leave in the order they came, so that those who came when the tick
 * was longer delay the others: a queue of cohorts, which are those that were written to in one go, and one timer, whatever
 * the number of viewers.
 */
export class Cooling {
  readonly #cohorts: Cohort[] = [];
  #timer: Timer | null = null;

  constructor(
    private readonly clock: Clock,
    private readonly tempo: { readonly tickMs: number },
    private readonly due: (viewers: readonly Viewer[]) => void,
  ) {}

  /** `nowMs`: not before the last of them was written to. */
  add(viewers: readonly Viewer[], nowMs: number): void {
    const { tickMs } = this.tempo;
    this.#cohorts.push({ dueAtMs: nowMs + tickMs, viewers });
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
