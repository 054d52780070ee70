import type { Delta } from '../counters/replication/delta.js';

interface BucketLag {
  /** When it was first missing, on the monotonic clock; `null`: the peer has all of this bucket. */
  readonly sinceMs: number | null;
  readonly changes: number;
}

/** What a peer lacks. */
export interface Lag {
  /** When the oldest of it was first missing, on the monotonic clock; `null`: nothing is. */
  readonly sinceMs: number | null;
  readonly changes: number;
}

const CAUGHT_UP: BucketLag = { sinceMs: null, changes: 0 };

/** What a peer is not known to have yet, by bucket. */
export class PeerLag {
  readonly #buckets = new Map<number, BucketLag>();

  /** Of these buckets together; `null`: of one of them it is not known what the peer has, so nobody can say. */
  measure(buckets: readonly number[]): Lag | null {
    let sinceMs: number | null = null;
    let things = 0;
    for (const bucket of buckets) {
      const behind = this.#buckets.get(bucket);
      if (behind === undefined) return null;
      things += behind.changes;
      if (behind.sinceMs !== null && (sinceMs === null || behind.sinceMs < sinceMs)) sinceMs = behind.sinceMs;
    }
    return { sinceMs, changes: things };
  }

  /** What is to be shipped: nothing, or all that is missing. */
  setMissing({ bucket, posts }: Delta, nowMs: number): void {
    const things = posts.reduce((sum, { registers }) => sum + Math.max(1, registers.length), 0);
    if (things === 0) this.markCaughtUp(bucket);
    else this.markBehind(bucket, things, nowMs);
  }

  markBehind(bucket: number, things: number, nowMs: number): void {
    this.#buckets.set(bucket, { sinceMs: this.#buckets.get(bucket)?.sinceMs ?? nowMs, changes: things });
  }

  markCaughtUp(bucket: number): void {
    this.#buckets.set(bucket, CAUGHT_UP);
  }

  /** It is not known any more what the peer has of the bucket. */
  markUnknown(bucket: number): void {
    this.#buckets.delete(bucket);
  }

  /** Of the other buckets somebody else keeps count. */
  keepOnly(buckets: ReadonlySet<number>): void {
    for (const bucket of this.#buckets.keys()) if (!buckets.has(bucket)) this.#buckets.delete(bucket);
  }
}
