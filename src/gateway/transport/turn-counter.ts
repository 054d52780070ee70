import type { Clock } from '../../common/clock.js';

/**
 * Numbers the turns of the event loop: a number stays the same within a turn, and changes with the next. It costs one
 * callback in a turn that reads it, and none in others.
 */
export class TurnCounter {
  #number = 0;
  #isCounting = false;

  constructor(private readonly clock: Clock) {}

  get number(): number {
    if (!this.#isCounting) {
      this.#isCounting = true;
      this.clock.soon(this.#next);
    }
    return this.#number;
  }

  readonly #next = (): void => {
    this.#isCounting = false;
    this.#number += 1;
  };
}
