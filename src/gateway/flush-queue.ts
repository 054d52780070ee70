import type { Clock } from '../common/clock.js';

interface Flushable {
  flush(): void;
}

/**
 * Connections with packets that wait to be written. A commit acknowledges thousands of operations at once; the packets of
 * one connection are written together, at the end of the turn of the event loop.
 */
export class FlushQueue {
  #waiting: Flushable[] = [];

  constructor(private readonly clock: Clock) {}

  /** To be called with the first packet. */
  add(connection: Flushable): void {
    if (this.#waiting.push(connection) === 1) this.clock.soon(this.#flush);
  }

  readonly #flush = (): void => {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const connection of waiting) connection.flush();
  };
}
