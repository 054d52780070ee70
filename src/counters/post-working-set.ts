import type { PostCounts } from './batch.js';
import { type Bucket, countsOf, type PostState } from './bucket.js';
import type { Metrics } from './metrics.js';

/** A post while something is done to it: read once, written once. */
export interface PostAtHand {
  readonly state: PostState;
  readonly known: boolean;
  changed: boolean;
  /** Not changed, but to be found by a scan: an actor has said something of it. A post of version 0 is unknown to readers. */
  named: boolean;
}

/** The posts of a bucket that a batch or a shipment names. */
export class PostsAtHand {
  readonly #posts = new Map<string, PostAtHand>();

  constructor(
    private readonly bucket: Bucket,
    private readonly metrics: Metrics,
  ) {}

  get(id: string): PostAtHand {
    let post = this.#posts.get(id);
    if (post === undefined) {
      const state = this.bucket.post(id);
      post = {
        state: state ?? { v: 0, updatedAtMs: 0, metrics: [] },
        known: state !== undefined,
        changed: false,
        named: false,
      };
      this.#posts.set(id, post);
    }
    return post;
  }

  /** Writes those that have changed, each as one version more. */
  write(): { counts: Map<string, PostCounts>; changed: PostCounts[] } {
    const { bucket, metrics } = this;
    const counts = new Map<string, PostCounts>();
    const changed: PostCounts[] = [];
    for (const [id, post] of this.#posts) {
      if (post.changed) {
        post.state.v += 1;
        bucket.setPost(id, post.state);
      } else if (post.named && !post.known) bucket.setPost(id, post.state);
      const now = countsOf(id, bucket.epoch, post.known || post.changed ? post.state : undefined, metrics);
      counts.set(id, now);
      if (post.changed) changed.push(now);
    }
    return { counts, changed };
  }
}
