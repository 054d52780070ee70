import type { Clock } from '../common/clock.js';

/** Node reads up to 64 KiB of a connection at once: over a thousand operations. */
const RELEASED_AT_ONCE = 4;
const LOOK_AGAIN_MS = 2;
/** With a few thousand who flood, each has its turn earlier. */
const HELD_MAX_MS = 10_000;
/** A fraction of what a client has to answer a ping (PING_TIMEOUT_MS): nobody sees its answer while it is not read. */
const STAY_MS = 2_000;

/** A connection whose client can be made to wait. */
export interface PausableConnection {
  /** Operations taken in and not yet answered. */
  readonly unacknowledged: number;
  /** @returns whether it can be paused: requests of long-polling cannot. */
  pause(): boolean;
  /** Called when it was paused, and every few seconds while it is: its client cannot show that it is there. */
  keepAliveWhilePaused(): void;
  resume(): void;
}

/** The part of ingest that says when. */
export interface LoadSignal {
  /** More operations wait than the store needs to be busy, and it is not away: they will be committed soon. */
  readonly congested: boolean;
  /** How many of them a connection may have then and still be read. */
  readonly fairShare: number;
}

/**
 * Backpressure: when operations come faster than they are committed, those who sent many are not read until there is
 * room. The rest of what they sent waits where it costs nothing, in the system's buffers and at the client; read all
 * the same it would keep the event loop busy for seconds with refusing it. Who waits for a few answers only is always
 * read. While the store is away so is everybody: who waits for it must be told, and so must those who come then.
 *
 *              crowded, and it has its share                  not crowded any more, or held for HELD_MAX_MS
 *     read ──────────────────────────────────▶ held, in order ────────────────────────────────────────────▶ read
 *                                                             a few in a turn of the event loop
 */
export class ReadBackpressure {
  /** With the time since when; who waits longest comes first. */
  readonly #held = new Map<PausableConnection, number>();
  #looking = false;
  #stayedAtMs = 0;

  constructor(
    private readonly crowd: LoadSignal,
    private readonly clock: Clock,
  ) {}

  /** Connections that are not read. */
  get paused(): number {
    return this.#held.size;
  }

  /** To be called when an operation of the connection was taken in while it is crowded. */
  pause(connection: PausableConnection): void {
    if (this.#held.has(connection) || connection.unacknowledged < this.crowd.fairShare || !connection.pause()) return;
    connection.keepAliveWhilePaused();
    this.#held.set(connection, this.clock.nowMs());
    if (!this.#looking) this.#lookAgain();
  }

  /** It is closing: the client's part of that has to be read. */
  remove(connection: PausableConnection): void {
    this.#release(connection);
  }

  #release(connection: PausableConnection): void {
    if (this.#held.delete(connection)) connection.resume();
  }

  readonly #look = (): void => {
    this.#looking = false;
    const nowMs = this.clock.nowMs();
    let released = 0;
    for (const [connection, sinceMs] of this.#held) {
      if (released === RELEASED_AT_ONCE || (this.crowd.congested && nowMs - sinceMs < HELD_MAX_MS)) break;
      this.#release(connection);
      released += 1;
    }
    if (nowMs - this.#stayedAtMs >= STAY_MS) {
      this.#stayedAtMs = nowMs;
      for (const connection of this.#held.keys()) connection.keepAliveWhilePaused();
    }
    if (this.#held.size > 0) this.#lookAgain();
  };

  /** In the next turn of the event loop, with what was sent by those released in this one; later if there is no room. */
  #lookAgain(): void {
    this.#looking = true;
    if (this.crowd.congested) this.clock.after(LOOK_AGAIN_MS, this.#look);
    else this.clock.soon(this.#look);
  }
}
