import type { Clock } from '../common/clock.js';

interface Flushable {
  flush(): void;
}

/**
 * Connections with answers that wait to be written. A commit answers thousands of operations at once: those of one
 * connection leave together, when the events of this turn have been dealt with.
 */
export class AckQueue {
  #waiting: Flushable[] = [];

  constructor(private readonly clock: Clock) {}

  /** To be called with the first answer. */
  add(connection: Flushable): void {
    if (this.#waiting.push(connection) === 1) this.clock.soon(this.#flush);
  }

  readonly #flush = (): void => {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const connection of waiting) connection.flush();
  };
}
