import type { Clock, Timer } from '../../src/common/clock.js';

interface Event {
  readonly atMs: number;
  readonly call: () => void;
}

/** Any time far from 0, so that a wall time is not mistaken for a monotonic one. */
const WALL_START_MS = Date.UTC(2026, 0, 1);

/**
 * Time that moves only when a test advances it. Each event, a due timer or a `soon` callback, runs alone, and everything that it resolves is
 * handled before the next one: the order of a real event loop, the same in every run.
 */
export class SimulatedClock implements Clock {
  #nowMs = 0;
  /** In the order in which they are due; those of the same moment in the order in which they were set. */
  readonly #timers: Event[] = [];
  readonly #soon: (() => void)[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return WALL_START_MS + Math.floor(this.#nowMs);
  }

  after(ms: number, call: () => void): Timer {
    const event = { atMs: this.#nowMs + Math.max(ms, 0), call };
    const later = this.#timers.findLastIndex(({ atMs }) => atMs <= event.atMs) + 1;
    this.#timers.splice(later, 0, event);
    return {
      cancel: () => {
        const at = this.#timers.indexOf(event);
        if (at !== -1) this.#timers.splice(at, 1);
      },
    };
  }

  soon(call: () => void): void {
    this.#soon.push(call);
  }

  /** Simulates that the running event takes this long. */
  spend(ms: number): void {
    this.#nowMs += ms;
  }

  /** How many timers are set. */
  get timers(): number {
    return this.#timers.length;
  }

  /** Runs all events of the next `ms`; with 0, those that are due. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settled();
    while (this.step(endMs)) await settled();
    this.#nowMs = Math.max(this.#nowMs, endMs);
  }

  /** Runs the next event if it is due until `endMs`. @returns whether there was one */
  step(endMs = Infinity): boolean {
    const soon = this.#soon.shift();
    if (soon !== undefined) {
      soon();
      return true;
    }
    const timer = this.#timers[0];
    if (timer === undefined || timer.atMs > endMs) return false;
    this.#timers.shift();
    this.#nowMs = Math.max(this.#nowMs, timer.atMs);
    timer.call();
    return true;
  }
}

/** Resolves when every promise that can settle without time passing has settled. */
export function settled(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
