import type { Clock, Timer } from '../clock.js';
import type { Viewer } from './viewer.js';

interface Cohort {
  readonly dueAtMs: number;
  readonly viewers: Viewer[];
}

/**
 * Viewers that had a frame less than a tick ago. All wait equally long, so they leave in the order they came: a queue
 * of cohorts and one timer, whatever the number of viewers.
 */
export class Cooling {
  #cohorts: Cohort[] = [];
  #timer: Timer | null = null;

  constructor(
    private readonly clock: Clock,
    private readonly tickMs: number,
    private readonly due: (viewers: readonly Viewer[]) => void,
  ) {}

  add(viewer: Viewer, nowMs: number): void {
    const dueAtMs = nowMs + this.tickMs;
    const last = this.#cohorts.at(-1);
    if (last !== undefined && dueAtMs <= last.dueAtMs) last.viewers.push(viewer);
    else this.#cohorts.push({ dueAtMs, viewers: [viewer] });
    this.#timer ??= this.clock.after(this.tickMs, () => this.#release());
  }

  #release(): void {
    const now = this.clock.nowMs();
    let released = 0;
    while (released < this.#cohorts.length && this.#cohorts[released]!.dueAtMs <= now) released++;
    const due = this.#cohorts.splice(0, released);
    const head = this.#cohorts[0];
    this.#timer = head === undefined ? null : this.clock.after(head.dueAtMs - now, () => this.#release());
    for (const { viewers } of due) this.due(viewers);
  }
}
