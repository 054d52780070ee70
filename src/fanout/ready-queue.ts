import type { Viewer } from './viewer.js';

/**
 * Viewers that a frame is due to, the one that has waited longest first. Two arrays in turn, one filled while the
 * other is emptied: moving up the rest of 100,000 for every slice would take a sixth of the time of the writes.
 */
export class ReadyQueue {
  #arrived: Viewer[] = [];
  #leaving: Viewer[] = [];
  #next = 0;
  #rounds = 0;

  get length(): number {
    return this.#leaving.length - this.#next + this.#arrived.length;
  }

  /** How often all who waited have left. */
  get cycles(): number {
    return this.#rounds;
  }

  push(viewer: Viewer): void {
    this.#arrived.push(viewer);
  }

  shift(): Viewer | undefined {
    if (this.#next === this.#leaving.length) {
      [this.#leaving, this.#arrived] = [this.#arrived, []];
      this.#next = 0;
    }
    if (this.#leaving.length === 0) return undefined;
    const viewer = this.#leaving[this.#next++];
    if (this.#next === this.#leaving.length) this.#rounds += 1;
    return viewer;
  }
}
