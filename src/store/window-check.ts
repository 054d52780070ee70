import { VISIT_MARKS_MAX } from '../counters/bucket.js';
import type { Metrics } from '../counters/metrics.js';

/** Warns once when marks of visits are not kept for as long as the windows of unique metrics are. */
export class WindowCheck {
  #isReported = false;

  constructor(
    private readonly metrics: Metrics,
    private readonly warn: (message: string) => void,
  ) {}

  /** @param marks marks of the generation that has just ended in a bucket */
  check(marks: number): void {
    if (marks < VISIT_MARKS_MAX || this.#isReported) return;
    this.#isReported = true;
    const windows = this.metrics.list
      .filter(({ kind }) => kind.windowS > 0)
      .map(({ name, kind }) => `${name}:${kind.name}`);
    this.warn(
      `METRICS ${windows.join(',')}: more than ${VISIT_MARKS_MAX} visits of a bucket counted within the longest window, so some actors ` +
        'count again sooner; a shorter window needs fewer marks',
    );
  }
}
