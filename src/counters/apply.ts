import type { Batch, CommitResult, PostCounts } from './batch.js';
import {
  type Bucket,
  nextUpdatedAtMs,
  buildCounts,
  MARK_GENERATION_MAX,
  MARK_GENERATION_MS,
  ensureMetricState,
  computeTotal,
} from './bucket.js';
import type { Metrics } from './metrics.js';
import { APPLIED, DUPLICATE, ON, type Operation } from './operation.js';
import { COUNT_MAX, increment, countRights } from './pn-counter.js';
import { type WorkingPost, PostWorkingSet } from './post-working-set.js';

/** How many +1 a region may take away. There is one right answer; that it is right is tested against others. */
export type CountRights = typeof countRights;

/**
 * What a batch does to a bucket: the meaning of the counter, and the reference that every store must equal.
 * Fence, marks, members and counts change together: a batch that is not next changes nothing, and nothing here fails
 * half way. Cost: one read and one write a post, a read and a write an operation for its mark and its member.
 */
export function apply(bucket: Bucket, metrics: Metrics, batch: Batch, rights: CountRights = countRights): CommitResult {
  const fence = bucket.producerState(batch.producerId);
  const last = fence?.batchNumber ?? 0;
  if (fence !== undefined && batch.batchNumber === last) return repeated(bucket, metrics, batch, fence.outcomes);
  if (batch.batchNumber !== last + 1) return { kind: batch.batchNumber > last ? 'gap' : 'stale', last };

  const { startedAtMs, marks } = bucket.markGeneration();
  if (batch.atMs >= startedAtMs + MARK_GENERATION_MS || marks >= MARK_GENERATION_MAX) {
    bucket.startMarkGeneration(batch.atMs);
  }

  const posts = new PostWorkingSet(bucket, metrics);
  const outcomes = new Uint8Array(batch.operations.length);
  const stamp = bucket.replication?.now(batch.atMs) ?? 0;
  batch.operations.forEach((operation, i) => {
    const post = posts.get(operation.post);
    outcomes[i] = applyOne(bucket, post, operation, stamp, rights);
    if ((outcomes[i] & APPLIED) > 0) post.state.updatedAtMs = nextUpdatedAtMs(post.state.updatedAtMs, batch.atMs);
  });
  if (bucket.replication !== null) bucket.persistClock();
  const { counts, changed } = posts.write();
  bucket.setProducerState(batch.producerId, { batchNumber: batch.batchNumber, outcomes });
  return { kind: 'applied', outcomes, counts, changed };
}

function applyOne(bucket: Bucket, post: WorkingPost, operation: Operation, stamp: number, rights: CountRights): number {
  const { session, seq } = operation;
  if (session !== null) {
    if (seq <= bucket.lastSeq(session)) return DUPLICATE | stateOf(bucket, operation);
    bucket.setLastSeq(session, seq);
  }
  const applied =
    operation.kind === 'set' ? set(bucket, post, operation, stamp) : count(bucket, post, operation, stamp, rights);
  if (applied) post.changed = true;
  return (applied ? APPLIED : 0) | (operation.kind === 'set' && operation.value === 1 ? ON : 0);
}

function stateOf(bucket: Bucket, { kind, post, metric, actor }: Operation): number {
  return kind === 'set' && actor !== null && bucket.hasMember(post, metric, actor) ? ON : 0;
}

/**
 * A toggle sets a state, it does not add: the count moves only when the state does. With other regions it is a word in any
 * case, for one may have said the opposite meanwhile: the last word wins.
 */
function set(bucket: Bucket, post: WorkingPost, { post: id, metric, actor, value }: Operation, stamp: number): boolean {
  if (actor === null) return false;
  const on = value === 1;
  if (bucket.replication !== null) {
    bucket.setRegisterStamp(id, metric, actor, stamp);
    bucket.replication.recordToggle(id, metric, actor, stamp);
    post.mustExist = true;
  }
  if (bucket.hasMember(id, metric, actor) === on) return false;
  bucket.setMember(id, metric, actor, on);
  ensureMetricState(post.state, metric).members += on ? 1 : -1;
  return true;
}

function count(
  bucket: Bucket,
  post: WorkingPost,
  { post: id, kind, metric, value }: Operation,
  stamp: number,
  rights: CountRights,
): boolean {
  const state = ensureMetricState(post.state, metric);
  const { incarnation: replica } = bucket;
  if (value > 0 ? computeTotal(state) + value > COUNT_MAX : rights(state.counter, replica.region) + value < 0)
    return false;
  const [p, n] = kind === 'add' || value > 0 ? [value, 0] : [0, -value];
  state.counter = increment(state.counter, replica, p, n);
  bucket.replication?.recordCount(id, stamp);
  return true;
}

/** The batch was applied before and its answer lost: the same outcomes again, with the counts as they are now. */
function repeated(bucket: Bucket, metrics: Metrics, batch: Batch, outcomes: Uint8Array): CommitResult {
  const counts = new Map<string, PostCounts>();
  for (const { post } of batch.operations) {
    if (!counts.has(post)) counts.set(post, buildCounts(post, bucket.epoch, bucket.post(post), metrics));
  }
  return { kind: 'applied', outcomes, counts, changed: [] };
}
