import type { Batch, CommitResult, PostCounts } from './batch.js';
import {
  type Bucket,
  countsOf,
  MARK_GENERATION_MAX,
  MARK_GENERATION_MS,
  metricState,
  type PostState,
  totalOf,
} from './bucket.js';
import type { Metrics } from './metrics.js';
import { APPLIED, DUPLICATE, ON, type Operation } from './operation.js';
import { COUNT_MAX, increment, valueOf } from './pn-counter.js';

/** A post while its batch is applied: read once, written once. */
interface Working {
  readonly state: PostState;
  readonly known: boolean;
  changed: boolean;
}

/**
 * What a batch does to a bucket: the meaning of the counter, and the reference that every store must equal.
 * Fence, marks, members and counts change together: a batch that is not next changes nothing, and nothing here fails
 * half way. Cost: one read and one write a post, a read and a write an operation for its mark and its member.
 */
export function apply(bucket: Bucket, metrics: Metrics, batch: Batch): CommitResult {
  const fence = bucket.fence(batch.incarnation);
  const last = fence?.n ?? 0;
  if (fence !== undefined && batch.n === last) return repeated(bucket, metrics, batch, fence.outcomes);
  if (batch.n !== last + 1) return { kind: batch.n > last ? 'gap' : 'stale', last };

  const { startedAtMs, marks } = bucket.generation();
  if (batch.atMs >= startedAtMs + MARK_GENERATION_MS || marks >= MARK_GENERATION_MAX) {
    bucket.startGeneration(batch.atMs);
  }

  const posts = new Map<string, Working>();
  const outcomes = new Uint8Array(batch.operations.length);
  batch.operations.forEach((operation, i) => {
    outcomes[i] = applyOne(bucket, working(bucket, posts, operation.post), operation);
  });
  const counts = new Map<string, PostCounts>();
  const changed: PostCounts[] = [];
  for (const [id, post] of posts) {
    if (post.changed) {
      post.state.v += 1;
      post.state.updatedAtMs = Math.max(post.state.updatedAtMs, batch.atMs);
      bucket.setPost(id, post.state);
    }
    const now = countsOf(id, bucket.epoch, post.known || post.changed ? post.state : undefined, metrics);
    counts.set(id, now);
    if (post.changed) changed.push(now);
  }
  bucket.setFence(batch.incarnation, { n: batch.n, outcomes });
  return { kind: 'applied', outcomes, counts, changed };
}

function working(bucket: Bucket, posts: Map<string, Working>, id: string): Working {
  let post = posts.get(id);
  if (post === undefined) {
    const state = bucket.post(id);
    post = { state: state ?? { v: 0, updatedAtMs: 0, metrics: [] }, known: state !== undefined, changed: false };
    posts.set(id, post);
  }
  return post;
}

function applyOne(bucket: Bucket, post: Working, operation: Operation): number {
  const { session, seq } = operation;
  if (session !== null) {
    if (seq <= bucket.mark(session)) return DUPLICATE | stateOf(bucket, operation);
    bucket.setMark(session, seq);
  }
  const applied = operation.kind === 'set' ? set(bucket, post, operation) : count(bucket, post, operation);
  if (applied) post.changed = true;
  return (applied ? APPLIED : 0) | (operation.kind === 'set' && operation.value === 1 ? ON : 0);
}

function stateOf(bucket: Bucket, { kind, post, metric, actor }: Operation): number {
  return kind === 'set' && actor !== null && bucket.hasMember(post, metric, actor) ? ON : 0;
}

/** A toggle sets a state, it does not add: the count moves only when the state does. */
function set(bucket: Bucket, post: Working, { post: id, metric, actor, value }: Operation): boolean {
  const on = value === 1;
  if (actor === null || bucket.hasMember(id, metric, actor) === on) return false;
  bucket.setMember(id, metric, actor, on);
  metricState(post.state, metric).members += on ? 1 : -1;
  return true;
}

function count(bucket: Bucket, post: Working, { kind, metric, value }: Operation): boolean {
  const state = metricState(post.state, metric);
  if (value > 0 ? totalOf(state) + value > COUNT_MAX : valueOf(state.counter) + value < 0) return false;
  const [p, n] = kind === 'add' || value > 0 ? [value, 0] : [0, -value];
  state.counter = increment(state.counter, bucket.replica, p, n);
  return true;
}

/** The batch was applied before and its answer lost: the same outcomes again, with the counts as they are now. */
function repeated(bucket: Bucket, metrics: Metrics, batch: Batch, outcomes: Uint8Array): CommitResult {
  const counts = new Map<string, PostCounts>();
  for (const { post } of batch.operations) {
    if (!counts.has(post)) counts.set(post, countsOf(post, bucket.epoch, bucket.post(post), metrics));
  }
  return { kind: 'applied', outcomes, counts, changed: [] };
}
