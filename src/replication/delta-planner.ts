import type { Clock } from '../common/clock.js';
import { compareIncarnations, type Incarnation } from '../counters/pn-counter.js';
import type { Delta } from '../counters/replication/delta.js';
import type { BucketStatus, ChangesRequest } from '../store/replicated-store.js';
import { CHANGES_MAX, type SharedRead } from './change-reader.js';
import type { PeerBuckets } from './peer-buckets.js';

type Statuses = ReadonlyMap<number, BucketStatus>;

export interface Plan {
  readonly deltas: readonly Delta[];
  /** Whether the peer lacks more than these deltas contain, so that the next exchange is due at once. */
  readonly hasMore: boolean;
}

/**
 * Decides what each bucket needs now: its changes, a full sync, or, if the state of the peer is unknown or its last ack is old, a
 * heartbeat: a delta that only requests an ack.
 */
export class DeltaPlanner {
  /** @param ackedUpTo the stamp up to which all peers have acked the bucket */
  constructor(
    private readonly buckets: PeerBuckets,
    private readonly clock: Clock,
    private readonly ackedUpTo: (bucket: number, own: Incarnation) => number,
  ) {}

  async plan(read: SharedRead, statuses: Statuses): Promise<Plan> {
    const { progress, lag, rejections, fullSyncs } = this.buckets;
    const heartbeats = progress.heartbeatsDue(statuses);
    const requests = this.#requests(read.leasedBuckets, statuses, heartbeats);
    const found = await read.changesSince(requests);
    const deltas: Delta[] = [];
    let hasMore = false;
    for (const [i, { bucket }] of requests.entries()) {
      const delta = found[i] ?? null;
      if (delta === null) {
        fullSyncs.add(bucket);
        lag.markBehind(bucket, CHANGES_MAX, this.clock.nowMs());
        continue;
      }
      const status = statuses.get(bucket)!;
      const isIncremental = this.#isIncremental(bucket, status);
      if (isIncremental) lag.setMissing(delta, this.clock.nowMs());
      const isPartial = isIncremental && delta.upTo < status.clock;
      hasMore ||= isPartial && !rejections.has(bucket);
      const isHeartbeat = heartbeats.has(bucket);
      // A rejected bucket is offered again with each heartbeat only.
      if (!isHeartbeat && rejections.has(bucket)) continue;
      if (isHeartbeat || (isIncremental && (isPartial || delta.posts.length > 0))) deltas.push(delta);
      else if (isIncremental) progress.markUnchanged(bucket, delta.upTo);
    }
    return { deltas, hasMore };
  }

  /** Leaves out buckets without changes since the last ack until their heartbeat is due. */
  #requests(leasedBuckets: readonly number[], statuses: Statuses, heartbeats: ReadonlySet<number>): ChangesRequest[] {
    const { progress, lag, fullSyncs } = this.buckets;
    const requests: ChangesRequest[] = [];
    for (const bucket of leasedBuckets) {
      const status = statuses.get(bucket)!;
      const isIncremental = this.#isIncremental(bucket, status);
      if (!isIncremental && !fullSyncs.isWaiting(bucket)) lag.markUnknown(bucket);
      if (!heartbeats.has(bucket) && (!isIncremental || progress.isUnchanged(bucket, status.clock))) continue;
      const after = isIncremental ? progress.ack(bucket)!.upTo : status.clock;
      requests.push({ bucket, after, ackedUpTo: this.ackedUpTo(bucket, status) });
    }
    return requests;
  }

  /** Whether the peer has the current incarnation of the bucket, so that its changes are all that the peer needs. */
  #isIncremental(bucket: number, { epoch, nonce, backfilling }: BucketStatus): boolean {
    const { progress, fullSyncs } = this.buckets;
    const ack = progress.ack(bucket);
    return (
      ack !== undefined &&
      !backfilling &&
      !fullSyncs.isWaiting(bucket) &&
      !fullSyncs.isRunning(bucket) &&
      compareIncarnations(ack, { epoch, nonce }) === 'same'
    );
  }
}
