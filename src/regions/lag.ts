import type { Shipment } from '../counters/shipment.js';

/** What a peer is not known to have yet, by bucket. */
export class Lag {
  readonly #behind = new Map<number, { readonly sinceMs: number; things: number }>();

  /** Since when something is missing, on the monotonic clock; `null`: nothing is. */
  get sinceMs(): number | null {
    let sinceMs: number | null = null;
    for (const one of this.#behind.values()) if (sinceMs === null || one.sinceMs < sinceMs) sinceMs = one.sinceMs;
    return sinceMs;
  }

  get things(): number {
    let sum = 0;
    for (const { things } of this.#behind.values()) sum += things;
    return sum;
  }

  /** What is to be shipped: nothing, or all that is missing. */
  due({ bucket, posts }: Shipment, nowMs: number): void {
    const things = posts.reduce((sum, { registers }) => sum + Math.max(1, registers.length), 0);
    if (things === 0) this.#behind.delete(bucket);
    else this.late(bucket, things, nowMs);
  }

  late(bucket: number, things: number, nowMs: number): void {
    const known = this.#behind.get(bucket);
    if (known === undefined) this.#behind.set(bucket, { sinceMs: nowMs, things });
    else known.things = things;
  }

  caughtUp(bucket: number): void {
    this.#behind.delete(bucket);
  }

  /** Of the other buckets somebody else keeps count. */
  keepOnly(buckets: ReadonlySet<number>): void {
    for (const bucket of this.#behind.keys()) if (!buckets.has(bucket)) this.#behind.delete(bucket);
  }
}
