import type { Clock } from '../common/clock.js';
import type { ClosingFlag } from '../common/closing-flag.js';
import type { LogProgress, LogProgressReport } from './log-progress.js';

/** As often as metrics are read, about. */
const INTERVAL_MS = 10_000;

/** Measures the log from time to time, so that reading metrics never waits for its server. */
export class LogWatch {
  #last: LogProgressReport | null = null;

  constructor(
    private readonly progress: Pick<LogProgress, 'measure'>,
    private readonly clock: Clock,
    private readonly lifecycle: ClosingFlag,
  ) {
    void this.#measureRepeatedly();
  }

  /** `null`: the log did not respond when it was last measured. */
  get last(): LogProgressReport | null {
    return this.#last;
  }

  async #measureRepeatedly(): Promise<void> {
    this.#last = await this.progress.measure().catch(() => null);
    if (!this.lifecycle.isClosing) this.clock.after(INTERVAL_MS, () => void this.#measureRepeatedly());
  }
}
