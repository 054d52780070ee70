import { bucketOf } from '../../counters/bucket-of.js';
import type { ActorKeys } from '../../counters/ids.js';
import type { Metrics } from '../../counters/metrics.js';
import { RECORDS_MAX } from '../../counters/milestones.js';
import type { Operation } from '../../counters/operation.js';
import { REGIONS_MAX } from '../../counters/pn-counter.js';
import type { Delta, HomeDelta, PostDelta } from '../../counters/replication/delta.js';
import { BY_MAX } from '../../protocol/limits.js';
import { WireError } from './wire-format.js';

/** One for each region that a store may know. */
const CONFIRMATIONS_MAX = REGIONS_MAX + 1;
/** The least and the largest value of an operation of each kind. */
const VALUES = { add: [1, BY_MAX], set: [0, 1], adjust: [-1, 1], visit: [1, 1] } as const;

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
  checkOperations(operations: readonly Operation[]): void {
    for (const { metric, kind, value, actor } of operations) {
      const { kind: known } = this.metrics.list[metric] ?? {};
      if (known === undefined) throw new WireError(`metric of an operation must be below ${this.metrics.list.length}`);
      const needsActor = kind === 'set' || kind === 'visit';
      if (needsActor && actor === null) throw new WireError(`an operation of kind ${kind} must have an actor`);
      const isOfKind = kind === 'set' || kind === 'adjust' ? known.hasMembers : !known.hasMembers;
      if (!isOfKind || (kind === 'visit' && known.windowS === 0))
        throw new WireError(`metric of an operation must be one that takes ${kind}`);
      const [least, most] = VALUES[kind];
      if (value < least || value > most || (kind === 'adjust' && value === 0))
        throw new WireError(`value of an operation of kind ${kind} must be from ${least} to ${most}`);
    }
  }

  /** @throws WireError */
  checkBucket(bucket: number): void {
    if (bucket >= this.buckets) throw new WireError(`bucket must be below ${this.buckets}`);
  }

  #checkPost({ post, entries, registers, members, homes }: PostDelta, bucket: number): void {
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
    if (homes !== undefined) this.#checkHomes(homes);
  }

  #checkHomes(homes: readonly HomeDelta[]): void {
    const { length } = this.metrics.list;
    if (homes.length > length) throw new WireError(`homes must be at most ${length}, one for each metric`);
    for (const { metric, confirmations, reached } of homes) {
      if (metric >= length) throw new WireError(`metric of a home must be below ${length}`);
      const regions = new Set(confirmations.map(({ region }) => region));
      if (regions.size < confirmations.length) throw new WireError('confirmations must be of different regions');
      if (regions.size > CONFIRMATIONS_MAX) throw new WireError(`confirmations must be at most ${CONFIRMATIONS_MAX}`);
      if (reached.length > RECORDS_MAX) throw new WireError(`records must be at most ${RECORDS_MAX}`);
      if (reached.some(({ n, total }) => n < 1 || total < n))
        throw new WireError('n of a record must be at least 1, and its total at least n');
      if (new Set(reached.map(({ n }) => n)).size < reached.length)
        throw new WireError('records must have different n');
    }
  }
}
