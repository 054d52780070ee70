import type { PostCounts } from './batch.js';
import { type Bucket, buildCounts, computeTotals, type PostState } from './bucket.js';
import type { Metrics } from './metrics.js';
import { recordMissed } from './milestone-records.js';

/** A post of a unit of work: read once, written once. */
export interface WorkingPost {
  readonly state: PostState;
  readonly exists: boolean;
  /** By metric index; `null` where changed posts are not recorded. */
  readonly totalsBefore: readonly number[] | null;
  changed: boolean;
  /** To be written even if no count changed, because it has a register that a full sync must find. Readers do not see version 0. */
  mustExist: boolean;
}

/** The posts of a bucket that a batch or a delta names: a unit of work (Fowler, Patterns of Enterprise Application Architecture, 2002). */
export class PostWorkingSet {
  readonly #posts = new Map<string, WorkingPost>();

  constructor(
    private readonly bucket: Bucket,
    private readonly metrics: Metrics,
  ) {}

  get(id: string): WorkingPost {
    let post = this.#posts.get(id);
    if (post === undefined) {
      const state = this.bucket.post(id);
      post = {
        state: state ?? { v: 0, updatedAtMs: 0, metrics: [] },
        exists: state !== undefined,
        totalsBefore: this.bucket.changedPosts && computeTotals(state, this.metrics),
        changed: false,
        mustExist: false,
      };
      this.#posts.set(id, post);
    }
    return post;
  }

  /** Writes the changed posts, each with the next version. */
  write(): { counts: Map<string, PostCounts>; changed: PostCounts[] } {
    const { bucket, metrics } = this;
    const counts = new Map<string, PostCounts>();
    const changed: PostCounts[] = [];
    for (const [id, post] of this.#posts) {
      if (post.changed) {
        post.state.v += 1;
        if (!bucket.milestones.isEmpty)
          for (const { index } of metrics.list) recordMissed(bucket, id, post.state, index);
        bucket.setPost(id, post.state);
      } else if (post.mustExist && !post.exists) bucket.setPost(id, post.state);
      const now = buildCounts(id, bucket.epoch, post.exists || post.changed ? post.state : undefined, metrics);
      counts.set(id, now);
      if (!post.changed) continue;
      changed.push(now);
      bucket.changedPosts?.record(id, post.totalsBefore!, now.totals, post.state.updatedAtMs);
    }
    return { counts, changed };
  }
}
