import type { Clock } from '../common/clock.js';
import { TIME_AHEAD_MAX_MS } from '../counters/bucket.js';
import type { Incarnation } from '../counters/pn-counter.js';
import { firstStampAt, toWallMs } from '../counters/replication/hybrid-clock.js';
import type { ReplicatedStore } from '../store/replicated-store.js';
import { AHEAD_MAX_MS } from './delta-admission.js';

/** The last acks of a peer. */
interface PeerAcks {
  /** The last incarnation of the bucket that the peer has, and up to which stamp; `undefined`: unknown. */
  ack(bucket: number): (Pick<Incarnation, 'epoch'> & { readonly upTo: number }) | undefined;
}

/**
 * Starts a new incarnation, at the current time, of the buckets whose clock was ahead. This needs two witnesses: a peer that rejects the
 * buckets, and the clock of this gateway, which is guarded against jumps. If that clock is as far ahead as the buckets are, either the
 * peer's clock is behind or this one has not been corrected yet.
 */
export class AheadClockReset {
  #isRunning = false;

  constructor(
    private readonly store: ReplicatedStore,
    private readonly clock: Clock,
    private readonly links: () => readonly PeerAcks[],
    private readonly warn: (message: string) => void,
  ) {}

  /** @param leasedBuckets all of this gateway, because the buckets of an embedded store share an incarnation: all that are ahead start one */
  async run(leasedBuckets: readonly number[]): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      await this.#rewind(leasedBuckets);
    } finally {
      this.#isRunning = false;
    }
  }

  async #rewind(leasedBuckets: readonly number[]): Promise<void> {
    const wallMs = this.clock.wallMs();
    const statuses = await this.store.bucketStatus(leasedBuckets);
    let epoch = 0;
    // The new clock is above all that a peer has, so that no update has two stamps of which a peer merges the later one first. Acks above
    // `latest` are of a peer that was as far ahead: they are ignored.
    const latest = firstStampAt(wallMs + AHEAD_MAX_MS);
    let clock = firstStampAt(wallMs);
    for (const link of this.links()) {
      for (const bucket of leasedBuckets) {
        const ack = link.ack(bucket);
        if (ack === undefined) continue;
        if (ack.upTo <= latest) clock = Math.max(clock, ack.upTo);
        epoch = Math.max(epoch, ack.epoch);
      }
    }
    const ahead = leasedBuckets.filter((_, i) => toWallMs(statuses[i]!.clock) - toWallMs(clock) > TIME_AHEAD_MAX_MS);
    if (ahead.length === 0) return;
    for (const status of statuses) epoch = Math.max(epoch, status.epoch);
    await this.store.startIncarnation(ahead, { epoch, clock, needsBackfill: false, rewindsClock: true });
    this.warn(
      `${ahead.length} buckets had stamps ahead of the clock; they started a new incarnation at the current time and are sent again`,
    );
  }
}
