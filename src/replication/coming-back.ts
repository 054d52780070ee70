import type { Clock } from '../common/clock.js';
import { TIME_AHEAD_MAX_MS } from '../counters/bucket.js';
import type { Incarnation } from '../counters/pn-counter.js';
import { firstStampAt, toWallMs } from '../counters/replication/hybrid-clock.js';
import type { ReplicatedStore } from '../store/replicated-store.js';
import { AHEAD_MAX_MS } from './admission.js';

/** What a link knows of a bucket at its peer. */
interface PeerAcks {
  /** Up to where the peer has what lives of the bucket have changed, and the last of these lives; `undefined`: not known. */
  ack(bucket: number): (Pick<Incarnation, 'epoch'> & { readonly upTo: number }) | undefined;
}

/**
 * The way back of buckets whose clock had run ahead: another life, whose clock is the present one. Two must say that they have: a peer that
 * takes nothing of them, and the clock of this gateway, which is guarded against jumps. If this one is as far ahead as they are, it is
 * the peer's clock that is behind, or this one has not been set right yet.
 */
export class ClockRewind {
  #running = false;

  constructor(
    private readonly store: ReplicatedStore,
    private readonly clock: Clock,
    private readonly links: () => readonly PeerAcks[],
    private readonly warn: (message: string) => void,
  ) {}

  /** @param led all buckets of this gateway: those of an embedded store share their lives, so that one is begun for all that are ahead */
  async run(led: readonly number[]): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      await this.#comeBack(led);
    } finally {
      this.#running = false;
    }
  }

  async #comeBack(led: readonly number[]): Promise<void> {
    const wallMs = this.clock.wallMs();
    const standings = await this.store.bucketStatus(led);
    let epoch = 0;
    // Above what any peer has: so nothing is told by two stamps, the later one first. What a peer took while it was as far ahead is not
    // waited for.
    const latest = firstStampAt(wallMs + AHEAD_MAX_MS);
    let clock = firstStampAt(wallMs);
    for (const link of this.links()) {
      for (const bucket of led) {
        const receipt = link.ack(bucket);
        if (receipt === undefined) continue;
        if (receipt.upTo <= latest) clock = Math.max(clock, receipt.upTo);
        epoch = Math.max(epoch, receipt.epoch);
      }
    }
    const ahead = led.filter((_, i) => toWallMs(standings[i]!.clock) - toWallMs(clock) > TIME_AHEAD_MAX_MS);
    if (ahead.length === 0) return;
    for (const standing of standings) epoch = Math.max(epoch, standing.epoch);
    await this.store.startIncarnation(ahead, { epoch, clock, needsBackfill: false, rewindsClock: true });
    this.warn(
      `${ahead.length} buckets had stamps of a clock that was ahead: they begin a new life at the present time, and are told anew`,
    );
  }
}
