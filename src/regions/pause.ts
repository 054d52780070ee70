import type { Clock } from '../clock.js';

/** A wait that somebody else may end. */
export class Pause {
  #ended = false;
  #end: () => void = () => undefined;

  constructor(private readonly clock: Clock) {}

  /** At least until all that runs now has run. */
  for(ms: number): Promise<void> {
    if (this.#ended) return Promise.resolve();
    return new Promise((resolve) => {
      if (ms <= 0) {
        this.clock.soon(resolve);
        return;
      }
      const timer = this.clock.after(ms, resolve);
      this.#end = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  /** Ends the present wait, and all that would follow. */
  end(): void {
    this.#ended = true;
    this.#end();
  }
}
