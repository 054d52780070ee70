import { bucketOf } from '../../counters/bucket-of.js';
import type { ActorKeys } from '../../counters/ids.js';
import type { Metrics } from '../../counters/metrics.js';
import type { Delta, PostDelta } from '../../counters/replication/delta.js';
import { WireError } from './wire-format.js';

/**
 * Checks decoded deltas of another region against the settings. A call that breaks a rule is rejected as a whole, because regions with the
 * same settings never send one. Admission checks stamps and counts, bucket by bucket.
 */
export class DeltaValidation {
  /** The settings that regions must share, in one line: `64 hash likes:toggle,views:tally`. */
  readonly schema: string;

  constructor(
    private readonly buckets: number,
    actorKeys: ActorKeys,
    private readonly metrics: Metrics,
  ) {
    this.schema = `${buckets} ${actorKeys} ${metrics.toString()}`;
  }

  /**
   * Whether a region with this schema may push to this one: it has the same buckets and kind of actor keys, and no metrics that are
   * unknown here. This region may have more metrics, so that they can be added to one region after the other.
   */
  acceptsSchema(theirs: string): boolean {
    return this.schema === theirs || this.schema.startsWith(`${theirs},`);
  }

  /** @throws WireError */
  check(from: string, deltas: readonly Delta[]): void {
    for (const { source, bucket, posts } of deltas) {
      if (source.region !== from) throw new WireError(`source must be ${from}, the region that calls`);
      this.checkBucket(bucket);
      for (const post of posts) this.#checkPost(post, bucket);
    }
  }

  /** @throws WireError */
  checkBucket(bucket: number): void {
    if (bucket >= this.buckets) throw new WireError(`bucket must be below ${this.buckets}`);
  }

  #checkPost({ post, entries, registers, members }: PostDelta, bucket: number): void {
    if (bucketOf(post, this.buckets) !== bucket) throw new WireError(`post must be one of bucket ${bucket}`);
    const { list } = this.metrics;
    for (const { metric } of entries) {
      if (metric >= list.length) throw new WireError(`metric of an entry must be below ${list.length}`);
    }
    for (const { metric } of registers) {
      if (list[metric]?.kind.hasMembers !== true) throw new WireError('metric of a register must have members');
    }
    for (const { metric } of members) {
      if (list[metric]?.kind.hasMembers !== true) throw new WireError('metric of members must have members');
    }
  }
}
