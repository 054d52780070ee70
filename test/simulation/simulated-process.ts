import type { Clock } from '../../src/common/clock.js';
import type { SimulatedClock } from './simulated-clock.js';

/** A process that is stopped and goes on, or is killed. Its timers and its answers wait until it goes on. */
export class SimulatedProcess {
  readonly clock: Clock;
  #isKilled = false;
  #stoppedAtMs: number | null = null;
  /** How far its clock is behind, because it stood still. */
  #lostMs = 0;
  #stopsClock = false;
  #waiting: (() => void)[] = [];

  constructor(private readonly worldClock: SimulatedClock) {
    this.clock = {
      wallMs: () => worldClock.wallMs(),
      nowMs: () => this.#nowMs,
      after: (ms, call) => worldClock.after(ms, () => this.#whenAwake(call)),
      soon: (call) => worldClock.soon(() => this.#whenAwake(call)),
    };
  }

  get isStopped(): boolean {
    return this.#stoppedAtMs !== null;
  }

  /** @param stopsClock whether its clock stands still, too, as that of a virtual machine may */
  stop(stopsClock: boolean): void {
    this.#stoppedAtMs ??= this.worldClock.nowMs();
    this.#stopsClock = stopsClock;
  }

  resume(): void {
    if (this.#stoppedAtMs === null) return;
    if (this.#stopsClock) this.#lostMs += this.worldClock.nowMs() - this.#stoppedAtMs;
    this.#stoppedAtMs = null;
    for (const call of this.#waiting.splice(0)) this.#whenAwake(call);
  }

  kill(): void {
    this.#isKilled = true;
  }

  /** Resolves when the process can take an answer; never if it was killed. */
  awake(): Promise<void> {
    return new Promise((resolve) => this.#whenAwake(resolve));
  }

  /** Resolves after a time in which the process waits. */
  async pause(ms: number): Promise<void> {
    await this.world(ms);
    await this.awake();
  }

  /** Resolves after a time, whatever the process does. */
  world(ms: number): Promise<void> {
    return new Promise((resolve) => void this.worldClock.after(ms, resolve));
  }

  get #nowMs(): number {
    const nowMs = this.#stopsClock && this.#stoppedAtMs !== null ? this.#stoppedAtMs : this.worldClock.nowMs();
    return nowMs - this.#lostMs;
  }

  #whenAwake(call: () => void): void {
    if (this.#isKilled) return;
    if (this.isStopped) this.#waiting.push(call);
    else call();
  }
}
