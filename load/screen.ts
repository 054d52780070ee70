/** Frames that are remembered for acknowledgements that come after them: a second and more at the usual tick. */
const ARRIVALS_MAX = 16;
/** Operations that wait for their frame. Beyond it no more are measured. */
const WAITING_MAX = 10_000;

/**
 * Finds when an operation got to a viewer's screen: with the first frame whose version is at or above the one in the
 * operation's acknowledgement. The frame may come before the acknowledgement, or after it.
 */
export class Screen {
  #epoch = '';
  #version = 0;
  /** When versions up to this one were shown is not known any more. */
  #forgotten = 0;
  #arrivals: { version: number; atMs: number }[] = [];
  #waiting: { version: number; dueMs: number }[] = [];

  /** `found` is told how long it took from when the operation was due. */
  constructor(private readonly found: (ms: number) => void) {}

  /** A viewer connected again: when it would have seen what it missed, nobody knows. */
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
