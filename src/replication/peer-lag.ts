import type { Delta } from '../counters/replication/delta.js';

/** The lag of one bucket or of several. */
export interface Lag {
  /** When its oldest change was first missing, on the monotonic clock; `null`: the peer has everything. */
  readonly sinceMs: number | null;
  readonly changes: number;
}

const CAUGHT_UP: Lag = { sinceMs: null, changes: 0 };

/** Changes that a peer has not acked yet, by bucket. */
export class PeerLag {
  readonly #buckets = new Map<number, Lag>();

  /** @returns the lag of these buckets together; `null`: that of one of them is unknown */
  measure(buckets: readonly number[]): Lag | null {
    let sinceMs: number | null = null;
    let changes = 0;
    for (const bucket of buckets) {
      const lag = this.#buckets.get(bucket);
      if (lag === undefined) return null;
      changes += lag.changes;
      if (lag.sinceMs !== null && (sinceMs === null || lag.sinceMs < sinceMs)) sinceMs = lag.sinceMs;
    }
    return { sinceMs, changes };
  }

  /** @param delta all changes that the peer lacks, or none */
  setMissing({ bucket, posts }: Delta, nowMs: number): void {
    const changes = posts.reduce((sum, { registers }) => sum + Math.max(1, registers.length), 0);
    if (changes === 0) this.markCaughtUp(bucket);
    else this.markBehind(bucket, changes, nowMs);
  }

  markBehind(bucket: number, changes: number, nowMs: number): void {
    this.#buckets.set(bucket, { sinceMs: this.#buckets.get(bucket)?.sinceMs ?? nowMs, changes });
  }

  markCaughtUp(bucket: number): void {
    this.#buckets.set(bucket, CAUGHT_UP);
  }

  markUnknown(bucket: number): void {
    this.#buckets.delete(bucket);
  }

  keepOnly(buckets: ReadonlySet<number>): void {
    for (const bucket of this.#buckets.keys()) if (!buckets.has(bucket)) this.#buckets.delete(bucket);
  }
}
