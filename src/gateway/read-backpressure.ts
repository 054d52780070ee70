import type { Clock } from '../common/clock.js';

/** Connections resumed in one turn. Node reads up to 64 KiB of each at once: over a thousand operations. */
const RESUMED_AT_ONCE = 4;
const CHECK_MS = 2;
/** The longest pause. Even with a few thousand flooding connections, each is resumed earlier. */
const PAUSE_MAX_MS = 10_000;
/** A fraction of PING_TIMEOUT_MS, because a client's answer to a ping is not read during a pause. */
const KEEP_ALIVE_MS = 2_000;

/** A connection whose reading can be paused. */
export interface PausableConnection {
  /** Operations that ingest accepted and that were not acknowledged yet. */
  readonly unacknowledged: number;
  /** @returns whether the connection can be paused: long-polling cannot */
  pause(): boolean;
  /** Called at a pause and every few seconds during it, because answers to pings are not read. */
  keepAliveWhilePaused(): void;
  resume(): void;
}

/** The load of ingest. */
export interface LoadSignal {
  /** Whether more operations wait than keep the store busy, and the store is reachable. */
  readonly isCongested: boolean;
  /** A connection with at least this many operations is paused while ingest is congested. */
  readonly fairShare: number;
}

/**
 * Backpressure: while operations arrive faster than they are committed, connections with many of them are not read. What
 * they send waits in the system's buffers and at the client, where it costs nothing; reading it only to reject it would
 * keep the event loop busy for seconds. A connection that waits for a few acknowledgements is always read. While the store
 * is down no connection is paused, so that every client gets UNAVAILABLE.
 *
 *            congested, and the connection has its fair share            not congested any more, or after PAUSE_MAX_MS
 *     read ──────────────────────────────────────────────────▶ paused, in order ─────────────────────────────────────▶ read
 *                                                                     a few in a turn of the event loop
 */
export class ReadBackpressure {
  /** Paused connections with the time of their pause, the longest first. */
  readonly #paused = new Map<PausableConnection, number>();
  #isCheckScheduled = false;
  #keptAliveAtMs = 0;

  constructor(
    private readonly load: LoadSignal,
    private readonly clock: Clock,
  ) {}

  /** The number of paused connections. */
  get paused(): number {
    return this.#paused.size;
  }

  /** To be called when ingest has accepted an operation of the connection while it is congested. */
  pause(connection: PausableConnection): void {
    if (this.#paused.has(connection) || connection.unacknowledged < this.load.fairShare || !connection.pause()) return;
    connection.keepAliveWhilePaused();
    this.#paused.set(connection, this.clock.nowMs());
    if (!this.#isCheckScheduled) this.#checkLater();
  }

  /** To be called when the connection closes, because the client's close frame has to be read. */
  remove(connection: PausableConnection): void {
    this.#resume(connection);
  }

  #resume(connection: PausableConnection): void {
    if (this.#paused.delete(connection)) connection.resume();
  }

  readonly #check = (): void => {
    this.#isCheckScheduled = false;
    const nowMs = this.clock.nowMs();
    let resumed = 0;
    for (const [connection, sinceMs] of this.#paused) {
      if (resumed === RESUMED_AT_ONCE || (this.load.isCongested && nowMs - sinceMs < PAUSE_MAX_MS)) break;
      this.#resume(connection);
      resumed += 1;
    }
    if (nowMs - this.#keptAliveAtMs >= KEEP_ALIVE_MS) {
      this.#keptAliveAtMs = nowMs;
      for (const connection of this.#paused.keys()) connection.keepAliveWhilePaused();
    }
    if (this.#paused.size > 0) this.#checkLater();
  };

  /** Checks in the next turn of the event loop, after reading from the resumed connections; later while congested. */
  #checkLater(): void {
    this.#isCheckScheduled = true;
    if (this.load.isCongested) this.clock.after(CHECK_MS, this.#check);
    else this.clock.soon(this.#check);
  }
}
