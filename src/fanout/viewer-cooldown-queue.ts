import type { Clock, Timer } from '../common/clock.js';
import type { Viewer } from './viewer.js';

/** Viewers that are written to within this time of consecutive slices join one cohort, which waits for the last of them. Slices become fewer and longer. */
const COHORT_MS = 4;

interface Cohort {
  readonly startedAtMs: number;
  dueAtMs: number;
  readonly viewers: Viewer[];
}

/**
 * Viewers that got a frame less than a tick ago. They leave in the order in which they entered, so those that entered when
 * the tick was longer delay the others. The queue consists of cohorts, viewers written to in consecutive slices, and has
 * one timer, whatever the number of viewers.
 */
export class ViewerCooldownQueue {
  readonly #cohorts: Cohort[] = [];
  #timer: Timer | null = null;

  constructor(
    private readonly clock: Clock,
    private readonly tick: { tickMs(nowMs: number): number },
    private readonly due: (viewers: readonly Viewer[]) => void,
  ) {}

  /**
   * @param nowMs not before the last of the viewers was written to
   * @param isContinued whether the slice directly continues the one of the previous call
   */
  add(viewers: Viewer[], nowMs: number, isContinued: boolean): void {
    const tickMs = this.tick.tickMs(nowMs);
    const last = this.#cohorts.at(-1);
    if (isContinued && last !== undefined && nowMs - last.startedAtMs < COHORT_MS) {
      last.dueAtMs = nowMs + tickMs;
      for (const viewer of viewers) last.viewers.push(viewer);
    } else this.#cohorts.push({ startedAtMs: nowMs, dueAtMs: nowMs + tickMs, viewers });
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
