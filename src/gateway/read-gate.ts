import type { Clock } from '../clock.js';

/** Operations that wait to be committed: at the one nobody who acts is read any more, below the other some are again. */
const PENDING_HIGH = 10_000;
const PENDING_LOW = 5_000;
/** Node reads up to 64 KiB of a connection at once: over a thousand operations. */
const RESUMED_AT_ONCE = 4;
const LOOK_AGAIN_MS = 2;

/** A connection whose client can be made to wait. */
export interface Reading {
  pause(): void;
  resume(): void;
}

/**
 * Backpressure: when operations come faster than they are committed, they wait where they cost nothing, in the system's
 * buffers and at the client. Read all the same, what a thousand clients have sent would keep the event loop busy for
 * seconds with refusing it, and nothing would be committed or shown meanwhile. Those who waited longest go on first.
 */
export class ReadGate {
  /** Those who have acted since the gate was closed last. */
  readonly #acting = new Set<Reading>();
  #paused: Reading[] = [];
  #looking = false;

  constructor(
    private readonly ingest: { readonly pending: number },
    private readonly clock: Clock,
  ) {}

  /** Connections that are not read. */
  get paused(): number {
    return this.#paused.length;
  }

  /** To be called with each operation that was taken in. */
  acted(connection: Reading): void {
    this.#acting.add(connection);
    if (this.ingest.pending < PENDING_HIGH) return;
    for (const each of this.#acting) {
      each.pause();
      this.#paused.push(each);
    }
    this.#acting.clear();
    this.#lookAgain();
  }

  left(connection: Reading): void {
    this.#acting.delete(connection);
  }

  #lookAgain(): void {
    if (this.#looking) return;
    this.#looking = true;
    this.clock.after(LOOK_AGAIN_MS, () => {
      this.#looking = false;
      this.#look();
    });
  }

  #look(): void {
    if (this.ingest.pending < PENDING_LOW) {
      for (const each of this.#paused.splice(0, RESUMED_AT_ONCE)) each.resume();
    }
    if (this.#paused.length > 0) this.#lookAgain();
  }
}
