import type { Clock } from '../../common/clock.js';

/**
 * Numbers the turns of the event loop while somebody asks: a number is the same within a turn, and another in the next. It
 * costs one callback a turn, and none in a turn before which nobody asked.
 */
export class TurnCounter {
  #number = 0;
  #counting = false;

  constructor(private readonly clock: Clock) {}

  get number(): number {
    if (!this.#counting) {
      this.#counting = true;
      this.clock.soon(this.#next);
    }
    return this.#number;
  }

  readonly #next = (): void => {
    this.#counting = false;
    this.#number += 1;
  };
}
