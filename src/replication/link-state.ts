import type { Clock } from '../common/clock.js';

/** Whether a peer is up, since when, and the error of the last call. */
export class LinkState {
  #isUp = false;
  #sinceMs: number | null = null;
  #error = '';

  constructor(
    private readonly region: string,
    private readonly clock: Clock,
    private readonly warn: (message: string) => void,
  ) {}

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Since when, ms since 1970; `null`: the peer was not called yet. */
  get sinceMs(): number | null {
    return this.#sinceMs;
  }

  /** Error of the last failed call; `''` while the peer is up. */
  get error(): string {
    return this.#error;
  }

  set(up: boolean, error: string): void {
    this.#error = error;
    if (this.#isUp === up && this.#sinceMs !== null) return;
    this.#isUp = up;
    this.#sinceMs = this.clock.wallMs();
    this.warn(up ? `region ${this.region} is up` : `region ${this.region} is down: ${error}`);
  }
}
