import type { Viewer } from './viewer.js';

/**
 * Viewers whose frame is due, the one that has waited longest first. Two arrays take turns, one being filled while the
 * other is emptied: moving up the rest of 100,000 for every slice would take a sixth of the time of the writes.
 */
export class ReadyViewers {
  #entering: Viewer[] = [];
  #leaving: Viewer[] = [];
  #next = 0;
  #cycles = 0;

  get length(): number {
    return this.#leaving.length - this.#next + this.#entering.length;
  }

  /** How often all viewers that were waiting have left. */
  get cycles(): number {
    return this.#cycles;
  }

  push(viewer: Viewer): void {
    this.#entering.push(viewer);
  }

  shift(): Viewer | undefined {
    if (this.#next === this.#leaving.length) {
      [this.#leaving, this.#entering] = [this.#entering, []];
      this.#next = 0;
    }
    if (this.#leaving.length === 0) return undefined;
    const viewer = this.#leaving[this.#next++];
    if (this.#next === this.#leaving.length) this.#cycles += 1;
    return viewer;
  }
}
