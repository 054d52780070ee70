import type { Batch, CommitResult, PostCounts } from './batch.js';
import {
  type Bucket,
  buildCounts,
  computeTotal,
  ensureMetricState,
  MARK_GENERATION_MAX,
  MARK_GENERATION_MS,
  nextUpdatedAtMs,
} from './bucket.js';
import type { Metrics } from './metrics.js';
import { APPLIED, DUPLICATE, ON, type Operation } from './operation.js';
import { COUNT_MAX, countRights, increment } from './pn-counter.js';
import { PostWorkingSet, type WorkingPost } from './post-working-set.js';

/** How many +1 a region may take away: `countRights`. Tests plant other rules to see that they would be found. */
export type CountRights = typeof countRights;

/**
 * Applies a batch to a bucket. This is the meaning of the counter: the reference that every store must equal.
 * Producer state, sessions' seqs, members and counts change together: a batch that is not next changes nothing, and nothing here
 * fails half way. Cost: one read and one write a post, a read and a write an operation for its session and its member.
 */
export function apply(bucket: Bucket, metrics: Metrics, batch: Batch, rights: CountRights = countRights): CommitResult {
  const { producerId, batchNumber, afterInLog } = batch;
  const isFromLog = afterInLog !== undefined;
  const producer = isFromLog ? undefined : bucket.producerState(producerId);
  if (producer?.batchNumber === batchNumber) return repeatResult(bucket, metrics, batch, producer.outcomes);
  const last = isFromLog ? bucket.logPosition(producerId) : (producer?.batchNumber ?? 0);
  const after = afterInLog ?? batchNumber - 1;
  if (after !== last) return { kind: after > last ? 'gap' : 'stale', last };

  const { startedAtMs, marks } = bucket.markGeneration();
  if (batch.atMs >= startedAtMs + MARK_GENERATION_MS || marks >= MARK_GENERATION_MAX) {
    bucket.startMarkGeneration(batch.atMs);
  }

  const posts = new PostWorkingSet(bucket, metrics);
  const outcomes = new Uint8Array(batch.operations.length);
  const stamp = bucket.changes.now(batch.atMs);
  batch.operations.forEach((operation, i) => {
    const post = posts.get(operation.post);
    outcomes[i] = applyOne(bucket, post, operation, stamp, rights);
    if ((outcomes[i] & APPLIED) > 0) post.state.updatedAtMs = nextUpdatedAtMs(post.state.updatedAtMs, batch.atMs);
  });
  const { counts, changed } = posts.write();
  if (isFromLog) bucket.setLogPosition(producerId, batchNumber);
  else bucket.setProducerState(producerId, { batchNumber, outcomes });
  return { kind: 'applied', outcomes, counts, changed };
}

function applyOne(bucket: Bucket, post: WorkingPost, operation: Operation, stamp: number, rights: CountRights): number {
  const { session, seq } = operation;
  if (session !== null) {
    if (seq <= bucket.lastSeq(session)) return DUPLICATE | readState(bucket, operation);
    bucket.setLastSeq(session, seq);
  }
  const applied =
    operation.kind === 'set' ? set(bucket, post, operation, stamp) : count(bucket, post, operation, stamp, rights);
  if (applied) post.changed = true;
  return (applied ? APPLIED : 0) | (operation.kind === 'set' && operation.value === 1 ? ON : 0);
}

function readState(bucket: Bucket, { kind, post, metric, actor }: Operation): number {
  return kind === 'set' && actor !== null && bucket.hasMember(post, metric, actor) ? ON : 0;
}

/**
 * An operation on a toggle sets a state, so the count moves only when the state does. Other regions get it in either case: one of them may
 * have taken the opposite meanwhile, and the later update wins.
 */
function set(bucket: Bucket, post: WorkingPost, { post: id, metric, actor, value }: Operation, stamp: number): boolean {
  if (actor === null) return false;
  const on = value === 1;
  bucket.changes.recordToggle(id, metric, actor, stamp);
  if (bucket.changes.keepsRegisters) post.mustExist = true;
  if (bucket.hasMember(id, metric, actor) === on) return false;
  bucket.setMember(id, metric, actor, on);
  bucket.changedPosts?.recordMember(id, metric, actor);
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
  const { incarnation, changes } = bucket;
  const mayCount =
    value > 0 ? computeTotal(state) + value <= COUNT_MAX : rights(state.counter, incarnation.region) + value >= 0;
  if (!mayCount) return false;
  const [p, n] = kind === 'add' || value > 0 ? [value, 0] : [0, -value];
  state.counter = increment(state.counter, incarnation, p, n);
  changes.recordCount(id, stamp);
  return true;
}

/** For a batch that was applied before and whose result was lost: the same outcomes, with the current counts. */
function repeatResult(bucket: Bucket, metrics: Metrics, batch: Batch, outcomes: Uint8Array): CommitResult {
  const counts = new Map<string, PostCounts>();
  for (const { post } of batch.operations) {
    if (!counts.has(post)) counts.set(post, buildCounts(post, bucket.epoch, bucket.post(post), metrics));
  }
  return { kind: 'applied', outcomes, counts, changed: [] };
}
