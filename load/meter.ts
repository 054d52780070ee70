import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { Traffic } from './connection.js';
import type { Second } from './messages.js';

/** Ten minutes, far longer than this program waits for any operation. */
const LATENCY_MAX_US = 600_000_000;

/** An HDR histogram of microseconds with a precision of 1%. */
export function createLatencyHistogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: LATENCY_MAX_US, figures: 2 });
}

/** Collects the figures of a thread, a second at a time. */
export class Meter implements Traffic {
  bytes = 0;
  frames = 0;
  due = 0;
  acknowledged = 0;
  shed = 0;
  duplicates = 0;
  lagMs = 0;
  errors = new Map<string, number>();
  #toAnswer = createLatencyHistogram();
  #toScreen = createLatencyHistogram();

  constructor(readonly fatal: (message: string) => void) {}

  recordAcknowledgement(ms: number): void {
    this.acknowledged += 1;
    this.#toAnswer.record(microseconds(ms));
  }

  recordScreenLatency(ms: number): void {
    this.#toScreen.record(microseconds(ms));
  }

  countError(code: string): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
  }

  /** The main thread shares a posted histogram, so the next second gets new ones. */
  takeSecond(at: number): Second {
    const { due, acknowledged, shed, duplicates, frames, bytes, lagMs } = this;
    const second = {
      ...{ at, due, acknowledged, shed, duplicates, frames, bytes, lagMs },
      errors: [...this.errors],
      toAnswer: this.#toAnswer,
      toScreen: this.#toScreen,
    };
    this.bytes = this.frames = this.due = this.acknowledged = this.shed = this.duplicates = this.lagMs = 0;
    this.errors.clear();
    this.#toAnswer = createLatencyHistogram();
    this.#toScreen = createLatencyHistogram();
    return second;
  }
}

function microseconds(ms: number): number {
  return Math.min(LATENCY_MAX_US, Math.max(1, Math.round(ms * 1_000)));
}
