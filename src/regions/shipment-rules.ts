import type { Clock } from '../clock.js';
import { type ActorKeys, bucketOf } from '../counters/ids.js';
import type { Metrics } from '../counters/metrics.js';
import { type PostShipment, type Shipment } from '../counters/shipment.js';
import { wallMsOf } from '../counters/stamp.js';
import { WireError } from './wire-bytes.js';

/** A stamp that is further ahead would hold back, here and everywhere, what people do until then. */
const AHEAD_MAX_MS = 3_600_000;

/** What shipments of another region have to be besides well-formed, so that merging them does no harm here. */
export class ShipmentRules {
  /** What regions must agree on, in one line: `64 hash likes:toggle,views:tally`. */
  readonly counted: string;

  constructor(
    private readonly buckets: number,
    actorKeys: ActorKeys,
    private readonly metrics: Metrics,
    private readonly clock: Clock,
  ) {
    this.counted = `${buckets} ${actorKeys} ${metrics.toString()}`;
  }

  /**
   * Whether a region that counts so may ship to this one: it has the same buckets and kind of actor keys, and no metrics that are not known here.
   * More may be known here, so that metrics are added in one region after the other.
   */
  counts(theirs: string): boolean {
    return this.counted === theirs || this.counted.startsWith(`${theirs},`);
  }

  /** @throws WireError */
  check(from: string, shipments: readonly Shipment[]): void {
    const nowMs = this.clock.wallMs();
    for (const { source, bucket, born, after, upTo, confirmed, floor, posts } of shipments) {
      if (source.region !== from) throw new WireError(`source must be ${from}, the region that calls`);
      this.checkBucket(bucket);
      for (const stamp of [born, after, upTo, confirmed, floor]) checkTime(wallMsOf(stamp), nowMs);
      for (const post of posts) this.#checkPost(post, bucket, nowMs);
    }
  }

  /** @throws WireError */
  checkBucket(bucket: number): void {
    if (bucket >= this.buckets) throw new WireError(`bucket must be below ${this.buckets}`);
  }

  #checkPost({ post, updatedAtMs, entries, registers, members }: PostShipment, bucket: number, nowMs: number): void {
    if (bucketOf(post, this.buckets) !== bucket) throw new WireError(`post must be one of bucket ${bucket}`);
    checkTime(updatedAtMs, nowMs);
    const { list } = this.metrics;
    for (const { metric } of entries) {
      if (metric >= list.length) throw new WireError(`metric of an entry must be below ${list.length}`);
    }
    for (const { metric, stamp } of registers) {
      if (list[metric]?.kind !== 'toggle') throw new WireError('metric of a register must be a toggle');
      checkTime(wallMsOf(stamp), nowMs);
    }
    for (const { metric } of members) {
      if (list[metric]?.kind !== 'toggle') throw new WireError('metric of members must be a toggle');
    }
  }
}

function checkTime(timeMs: number, nowMs: number): void {
  const aheadMs = timeMs - nowMs;
  if (aheadMs <= AHEAD_MAX_MS) return;
  const minutes = Math.round(aheadMs / 60_000);
  throw new WireError(
    `the clocks differ: a time is ${minutes} minutes ahead of this region's clock; set both right (NTP)`,
  );
}
