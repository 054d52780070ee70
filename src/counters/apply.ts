import type { Batch, CommitResult, PostCounts } from './batch.js';
import {
  type Bucket,
  buildCounts,
  computeTotal,
  ensureMetricState,
  MARK_GENERATION_MAX,
  MARK_GENERATION_MS,
  type Marks,
  nextUpdatedAtMs,
  VISIT_MARKS_MAX,
} from './bucket.js';
import type { Key64 } from './ids.js';
import type { Metrics } from './metrics.js';
import { hasReached, reachMilestones } from './milestones.js';
import { APPLIED, buildSwitched, DUPLICATE, ELSEWHERE, ON, type Operation, REACHED } from './operation.js';
import { COUNT_MAX, countRights, increment } from './pn-counter.js';
import { PostWorkingSet, type WorkingPost } from './post-working-set.js';
import { isUndecided, mightReach, recordReached } from './milestone-records.js';
import { toVisitKey } from './visit-key.js';

/** Rules of counting. Tests plant other rules to see that they would be found. */
export interface CountingRules {
  /** How many +1 a region may take away. */
  readonly countRights: typeof countRights;
  /** The other options that a choice puts off when it is put on. */
  readonly optionsToPutOff: (metrics: Metrics, metric: number) => readonly number[];
  /** Whether also a visit that does not count starts a window. */
  readonly uncountedVisitStartsWindow: boolean;
  readonly reachMilestones: typeof reachMilestones;
  /** Whether an operation that another region has to do counts as done here. */
  readonly elsewhereSetsMark: boolean;
  /** Whether later operations of its session in the batch wait for it. */
  readonly elsewhereIsAwaited: boolean;
  /** Whether an event of a log is counted here whichever region decides: nobody would forward it, so it would be lost. */
  readonly logIsCountedHere: boolean;
  /** Whether a replay that might reach a milestone waits until this region may decide. */
  readonly replaysWait: boolean;
}

export const COUNTING_RULES: CountingRules = {
  countRights,
  optionsToPutOff: ({ otherOptions }, metric) => otherOptions[metric]!,
  uncountedVisitStartsWindow: false,
  reachMilestones,
  elsewhereSetsMark: false,
  elsewhereIsAwaited: true,
  logIsCountedHere: true,
  replaysWait: true,
};

/**
 * Applies a batch to a bucket. This is the meaning of the counter: the reference that every store must equal.
 * Producer state, sessions' seqs, members and counts change together: a batch that is not next changes nothing, and nothing here
 * fails half way. Cost: one read and one write a post, a read and a write an operation for its session and its member.
 */
export function apply(
  bucket: Bucket,
  metrics: Metrics,
  batch: Batch,
  rules: CountingRules = COUNTING_RULES,
): CommitResult {
  const { producerId, batchNumber, afterInLog } = batch;
  const isFromLog = afterInLog !== undefined;
  const producer = isFromLog ? undefined : bucket.producerState(producerId);
  if (producer?.batchNumber === batchNumber) return repeatResult(bucket, metrics, batch, producer.outcomes);
  const last = isFromLog ? bucket.logPosition(producerId) : (producer?.batchNumber ?? 0);
  const after = afterInLog ?? batchNumber - 1;
  if (after !== last) return { kind: after > last ? 'gap' : 'stale', last };
  if (batch.hasSums === true && mightReach(bucket, batch.operations)) return { kind: 'unsum', last };
  if (batch.isReplay === true && rules.replaysWait && mightReach(bucket, batch.operations, isUndecided))
    return { kind: 'undecided', last };

  startMarkGenerations(bucket, metrics, batch);
  const posts = new PostWorkingSet(bucket, metrics);
  const applying = new Applying(bucket, metrics, batch, rules);
  const outcomes = new Uint8Array(batch.operations.length);
  batch.operations.forEach((operation, i) => {
    const post = posts.get(operation.post);
    outcomes[i] = applying.apply(post, operation);
    if ((outcomes[i] & ELSEWHERE) === APPLIED)
      post.state.updatedAtMs = nextUpdatedAtMs(post.state.updatedAtMs, batch.atMs);
  });
  const { counts, changed } = posts.write();
  if (isFromLog) bucket.setLogPosition(producerId, batchNumber);
  else bucket.setProducerState(producerId, { batchNumber, outcomes });
  return { kind: 'applied', outcomes, counts, changed };
}

function toName({ hi, lo }: Key64): string {
  return `${hi} ${lo}`;
}

function startMarkGenerations(
  { sessionMarks, forwardMarks, visitMarks, milestones }: Bucket,
  metrics: Metrics,
  batch: Batch,
): void {
  startGenerationIfOver(sessionMarks, batch.atMs, MARK_GENERATION_MS, MARK_GENERATION_MAX);
  if (!milestones.isEmpty) startGenerationIfOver(forwardMarks, batch.atMs, MARK_GENERATION_MS, MARK_GENERATION_MAX);
  if (metrics.longestWindowS === 0 || !batch.operations.some(({ kind }) => kind === 'visit')) return;
  startGenerationIfOver(visitMarks, batch.atMs, metrics.longestWindowS * 1_000, VISIT_MARKS_MAX);
}

function startGenerationIfOver(marks: Marks, atMs: number, lengthMs: number, max: number): void {
  const { startedAtMs, marks: count } = marks.generation;
  if (atMs >= startedAtMs + lengthMs || count >= max) marks.startGeneration(atMs);
}

/** Applies the operations of one batch. */
class Applying {
  readonly #stamp: number;
  readonly #atMs: number;
  readonly #mayForward: boolean;
  readonly #isReplay: boolean;
  /** Sessions of which an operation of the batch is ELSEWHERE, and the region of all that were; `null`: later ones wait. */
  #elsewhere: Map<string, string | null> | null = null;

  constructor(
    private readonly bucket: Bucket,
    private readonly metrics: Metrics,
    { atMs, afterInLog, isReplay }: Batch,
    private readonly rules: CountingRules,
  ) {
    this.#stamp = bucket.changes.now(atMs);
    this.#atMs = atMs;
    this.#mayForward = !bucket.milestones.isEmpty && (afterInLog === undefined || !rules.logIsCountedHere);
    this.#isReplay = isReplay === true;
  }

  /** @returns its outcome */
  apply(post: WorkingPost, operation: Operation): number {
    const { session, seq } = operation;
    const { sessionMarks, milestones } = this.bucket;
    if (session !== null && seq <= sessionMarks.get(session)) return DUPLICATE | this.#readState(operation);
    if (this.#mayForward && (this.#mustWait(operation) || !this.#isAdmitted(post, operation))) {
      if (session !== null && this.rules.elsewhereSetsMark) sessionMarks.set(session, seq);
      // The other region has what it got of a replay, or its client sends it again.
      if (session !== null && this.rules.elsewhereIsAwaited && !this.#isReplay)
        this.#awaitElsewhere(session, operation);
      return ELSEWHERE;
    }
    if (session !== null) sessionMarks.set(session, seq);
    const outcome = this.#change(post, operation);
    if (milestones.armedCount === 0 || (outcome & APPLIED) === 0) return outcome;
    return outcome | this.#reach(post, operation);
  }

  /**
   * Whether an earlier operation of the session is ELSEWHERE. If it fails there, its retry must not meet a mark of a later one, here or in
   * the region that does it. Only operations for the same region may follow it at once, because they reach it in order.
   */
  #mustWait(operation: Operation): boolean {
    if (this.#elsewhere === null || operation.session === null) return false;
    const region = this.#elsewhere.get(toName(operation.session));
    return region !== undefined && (region === null || region !== this.bucket.homes.forwardTo(operation));
  }

  #awaitElsewhere(session: Key64, operation: Operation): void {
    this.#elsewhere ??= new Map();
    const name = toName(session);
    const region = this.#elsewhere.get(name);
    const own = region === null ? null : this.bucket.homes.forwardTo(operation);
    this.#elsewhere.set(name, region === undefined || region === own ? own : null);
  }

  #isAdmitted({ state }: WorkingPost, operation: Operation): boolean {
    const total = computeTotal(state.metrics[operation.metric]);
    return this.bucket.homes.admits(operation, total, this.#stamp, this.#isReplay);
  }

  /** @returns the outcome without milestones */
  #change(post: WorkingPost, operation: Operation): number {
    const { kind, value, metric } = operation;
    if (kind === 'visit') return this.#visit(post, operation) ? APPLIED : 0;
    if (kind !== 'set') return this.#count(post, operation) ? APPLIED : 0;
    const isSet = this.#set(post, operation, value === 1);
    if (value !== 1) return isSet ? APPLIED : 0;
    const switched = buildSwitched(this.metrics.otherOptions[metric]!, this.#putOthersOff(post, operation));
    return (isSet || switched > 0 ? APPLIED : 0) | ON | switched;
  }

  #readState({ kind, post, metric, actor, session, seq }: Operation): number {
    const { bucket } = this;
    const on = kind === 'set' && actor !== null && bucket.hasMember(post, metric, actor) ? ON : 0;
    const milestones = bucket.milestones.isEmpty ? undefined : bucket.milestones.get(post, metric);
    return milestones !== undefined && hasReached(milestones, session!, seq) ? on | REACHED : on;
  }

  /** To be called after the operation was applied. @returns REACHED if it is the one with which the total reaches a milestone */
  #reach({ state }: WorkingPost, operation: Operation): number {
    const { post, metric } = operation;
    const about = { v: state.v + 1, atMs: this.#atMs };
    const records = recordReached(this.bucket, post, metric, state, about, operation, this.rules.reachMilestones);
    const isShared = records.length > 0 && this.bucket.milestones.get(post, metric)?.shared !== undefined;
    // Records travel with counts, and a toggle that is put on changes none.
    if (isShared) this.bucket.changes.recordCount(post, this.#stamp);
    return records.some(({ missed }) => !missed) ? REACHED : 0;
  }

  /**
   * An operation on a toggle sets a state, so the count moves only when the state does. Other regions get it in either case: one of them may
   * have taken the opposite meanwhile, and the later update wins.
   */
  #set(post: WorkingPost, { post: id, metric, actor }: Omit<Operation, 'value'>, on: boolean): boolean {
    const { bucket } = this;
    if (actor === null) return false;
    bucket.changes.recordToggle(id, metric, actor, this.#stamp);
    if (bucket.changes.keepsRegisters) post.mustExist = true;
    if (bucket.hasMember(id, metric, actor) === on) return false;
    bucket.setMember(id, metric, actor, on);
    bucket.changedPosts?.recordMember(id, metric, actor);
    ensureMetricState(post.state, metric).members += on ? 1 : -1;
    return (post.changed = true);
  }

  /**
   * All other options get an update with the stamp of the one that is put on, also those that are off. So of two that are put on in two
   * regions, the later one puts the earlier one off in both.
   */
  #putOthersOff(post: WorkingPost, operation: Operation): readonly number[] {
    const others = this.rules.optionsToPutOff(this.metrics, operation.metric);
    return others.filter((metric) => this.#set(post, { ...operation, metric }, false));
  }

  #visit(post: WorkingPost, operation: Operation): boolean {
    const { post: id, metric, actor, atS = 0 } = operation;
    const { visitMarks } = this.bucket;
    if (actor === null) return false;
    const key = toVisitKey(id, metric, actor);
    const lastS = visitMarks.get(key);
    const isCounted = atS >= lastS + this.metrics.list[metric]!.kind.windowS && this.#count(post, operation);
    if (isCounted || this.rules.uncountedVisitStartsWindow) visitMarks.set(key, Math.max(lastS, atS));
    return isCounted;
  }

  #count(post: WorkingPost, { post: id, kind, metric, value }: Operation): boolean {
    const { bucket, rules } = this;
    const state = ensureMetricState(post.state, metric);
    const { incarnation, changes } = bucket;
    const mayCount =
      value > 0
        ? computeTotal(state) + value <= COUNT_MAX
        : rules.countRights(state.counter, incarnation.region) + value >= 0;
    if (!mayCount) return false;
    const [p, n] = kind === 'add' || value > 0 ? [value, 0] : [0, -value];
    state.counter = increment(state.counter, incarnation, p, n);
    changes.recordCount(id, this.#stamp);
    return (post.changed = true);
  }
}

/** For a batch that was applied before and whose result was lost: the same outcomes, with the current counts. */
function repeatResult(bucket: Bucket, metrics: Metrics, batch: Batch, outcomes: Uint8Array): CommitResult {
  const counts = new Map<string, PostCounts>();
  for (const { post } of batch.operations) {
    if (!counts.has(post)) counts.set(post, buildCounts(post, bucket.epoch, bucket.post(post), metrics));
  }
  return { kind: 'applied', outcomes, counts, changed: [] };
}
