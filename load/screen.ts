/** Frames kept for acknowledgements that arrive after them: more than a second at the default tick. */
const ARRIVALS_MAX = 16;
/** Operations that wait for their frame; further ones are not measured. */
const WAITING_MAX = 10_000;

/**
 * Measures when an operation reaches a viewer's screen: with the first frame whose version is at or above that in the
 * operation's acknowledgement. The frame may arrive before or after the acknowledgement.
 */
export class Screen {
  #epoch = '';
  #version = 0;
  /** The arrival of versions up to this one is no longer kept. */
  #forgotten = 0;
  #arrivals: { version: number; atMs: number }[] = [];
  #waiting: { version: number; dueMs: number }[] = [];

  /** @param found called with the time from when an operation was due to its frame */
  constructor(private readonly found: (ms: number) => void) {}

  /** Starts again after a reconnect, because the missed frames have no arrival. */
  reset(epoch: string, version: number): void {
    this.#epoch = epoch;
    this.#version = this.#forgotten = version;
    this.#arrivals = [];
    this.#waiting = [];
  }

  frame(epoch: string, version: number, nowMs: number): void {
    if (epoch !== this.#epoch) return this.reset(epoch, version);
    if (version <= this.#version) return;
    this.#version = version;
    this.#arrivals.push({ version, atMs: nowMs });
    if (this.#arrivals.length > ARRIVALS_MAX) this.#forgotten = this.#arrivals.shift()!.version;
    this.#waiting = this.#waiting.filter((operation) => {
      if (operation.version > version) return true;
      this.found(nowMs - operation.dueMs);
      return false;
    });
  }

  acknowledged(epoch: string, version: number, dueMs: number): void {
    if (epoch !== this.#epoch || version <= this.#forgotten) return;
    if (version > this.#version) {
      if (this.#waiting.length < WAITING_MAX) this.#waiting.push({ version, dueMs });
      return;
    }
    this.found(this.#arrivals.find((frame) => frame.version >= version)!.atMs - dueMs);
  }
}
