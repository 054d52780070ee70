import type { PostCounts } from './batch.js';
import { type Bucket, ensureMetricState } from './bucket.js';
import type { Metrics } from './metrics.js';
import { PostWorkingSet } from './post-working-set.js';

/** A toggle of a post that counts other members than it has. */
export interface MembersDrift {
  readonly post: string;
  /** Index of the toggle. */
  readonly metric: number;
  /** The members that the post counts. */
  readonly counted: number;
  /** How many there are. */
  readonly members: number;
}

/** A bucket that can count the members of a toggle. */
interface CountableBucket extends Bucket {
  countMembers(post: string, metric: number): number;
}

/**
 * Compares what posts of a bucket count with the members that they have.
 * @param repairs whether these posts are made to count them, as an ordinary change
 */
export function checkMembers(
  bucket: CountableBucket,
  metrics: Metrics,
  posts: readonly string[],
  repairs: boolean,
): { readonly drift: readonly MembersDrift[]; readonly changed: readonly PostCounts[] } {
  const toggles = metrics.list.filter(({ kind }) => kind.hasMembers);
  const drift = posts.flatMap((post) => {
    const state = bucket.post(post);
    return toggles
      .map(({ index }): MembersDrift => {
        const counted = state?.metrics[index]?.members ?? 0;
        return { post, metric: index, counted, members: bucket.countMembers(post, index) };
      })
      .filter(({ counted, members }) => counted !== members);
  });
  if (!repairs || drift.length === 0) return { drift, changed: [] };
  const working = new PostWorkingSet(bucket, metrics);
  for (const { post: id, metric, members } of drift) {
    const post = working.get(id);
    ensureMetricState(post.state, metric).members = members;
    post.changed = true;
  }
  return { drift, changed: working.write().changed };
}
