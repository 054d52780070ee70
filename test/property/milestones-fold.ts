import { isDeepStrictEqual } from 'node:util';
import type { Batch, CommitResult } from '../../src/counters/batch.js';
import { type Key64, toHex64 } from '../../src/counters/ids.js';
import type { Metrics } from '../../src/counters/metrics.js';
import { ARMED_MAX, type ArmResult, MILESTONES_MAX, type ReachedMilestone } from '../../src/counters/milestones.js';
import { APPLIED, DUPLICATE, type Operation, REACHED } from '../../src/counters/operation.js';
import { COUNT_MAX } from '../../src/counters/pn-counter.js';
import type { MilestonesView } from '../../src/store/milestone-store.js';

type Applied = Extract<CommitResult, { kind: 'applied' }>;

/** The total of a metric after an operation. */
interface Point {
  readonly at: number;
  readonly operation: Operation;
  readonly total: number;
  readonly v: number;
  readonly atMs: number;
}

/** From when to when a number was armed, unless it was reached before. */
interface Arming {
  readonly n: number;
  readonly from: number;
  to: number;
}

class Timeline {
  readonly members = new Set<string>();
  counter = 0;
  readonly points: Point[] = [];
  readonly armings: Arming[] = [];

  get total(): number {
    return Math.min(this.members.size + this.counter, COUNT_MAX);
  }

  /** The first operation after the arming, and before the disarming, whose total is at or above the number. */
  winnerOf({ n, from, to }: Arming): Point | undefined {
    return this.points.find(({ at, total }) => at > from && at < to && total >= n);
  }

  get reached(): readonly { readonly n: number; readonly winner: Point }[] {
    return this.armings
      .map((arming) => ({ n: arming.n, winner: this.winnerOf(arming) }))
      .flatMap(({ n, winner }) => (winner === undefined ? [] : [{ n, winner }]));
  }

  get armed(): number[] {
    const left = this.armings.filter((arming) => arming.to === Infinity && this.winnerOf(arming) === undefined);
    return left.map(({ n }) => n).sort((a, b) => a - b);
  }
}

/**
 * Milestones by their definition: keeps all totals that operations have led to, and searches them. It shares no code with `apply`,
 * and takes only from outcomes which operations were repetitions and which amounts were rejected.
 */
export class MilestonesFold {
  readonly #timelines = new Map<string, Timeline>();
  readonly #lastBatches = new Map<string, { readonly batchNumber: number; readonly outcomes: Uint8Array }>();
  #at = 0;

  constructor(private readonly metrics: Metrics) {}

  /** @throws Error if the outcome of an operation differs from what the search finds */
  commit(batch: Batch, { outcomes, counts }: Applied): void {
    const { bucket, producerId, batchNumber, afterInLog, operations } = batch;
    const producer = `${bucket} ${producerId}`;
    const last = this.#lastBatches.get(producer);
    if (afterInLog === undefined && last?.batchNumber === batchNumber) {
      if (!isDeepStrictEqual(outcomes, last.outcomes)) throw new Error('a batch that is sent again has other outcomes');
      return;
    }
    this.#lastBatches.set(producer, { batchNumber, outcomes });
    const winners = operations.map((operation, i) => {
      const at = ++this.#at;
      if ((outcomes[i]! & DUPLICATE) === 0)
        this.#add(batch, operation, outcomes[i]!, at, counts.get(operation.post)!.v);
      return this.#isWinner(operation, (outcomes[i]! & DUPLICATE) > 0 ? null : at);
    });
    const said = [...outcomes].map((outcome) => (outcome & REACHED) > 0);
    if (!isDeepStrictEqual(said, winners)) throw new Error(`outcomes ${String(said)} instead of ${String(winners)}`);
    for (const [post, { totals }] of counts) {
      const folded = this.metrics.list.map(({ index }) => this.#timeline(post, index).total);
      if (!isDeepStrictEqual(totals, folded)) throw new Error(`totals ${String(totals)} instead of ${String(folded)}`);
    }
  }

  arm(post: string, metric: number, n: number, result: ArmResult): void {
    const timeline = this.#timeline(post, metric);
    const { armed, reached, total } = timeline;
    const expected = armed.includes(n)
      ? 'armed'
      : reached.some((one) => one.n === n)
        ? 'reached'
        : total >= n
          ? 'passed'
          : armed.length >= ARMED_MAX || armed.length + reached.length >= MILESTONES_MAX
            ? 'full'
            : 'armed';
    if (result.kind !== expected) throw new Error(`arming ${n} at ${total} is ${result.kind} instead of ${expected}`);
    if (result.kind === 'armed' && result.isNew) timeline.armings.push({ n, from: ++this.#at, to: Infinity });
  }

  disarm(post: string, metric: number, n: number): void {
    const { armings } = this.#timeline(post, metric);
    const arming = armings.find((one) => one.n === n && one.to === Infinity);
    if (arming !== undefined) arming.to = ++this.#at;
  }

  /** @throws Error if M1, M2 or M3 does not hold */
  check(post: string, metric: number, { armed, reached }: MilestonesView): number {
    const timeline = this.#timeline(post, metric);
    const { total } = timeline;
    const name = `metric ${metric} of ${post}`;
    if (armed.some((n) => n <= total)) throw new Error(`M1: ${name} is at ${total}, and ${String(armed)} are armed`);
    if (!isDeepStrictEqual(armed, timeline.armed))
      throw new Error(`M1: of ${name} ${String(armed)} are armed, not ${String(timeline.armed)}`);
    const found = reached.map(({ n }) => n);
    const meant = timeline.reached.map(({ n }) => n).sort((a, b) => a - b);
    if (!isDeepStrictEqual(found, meant))
      throw new Error(`M2: ${name} has ${String(found)} instead of ${String(meant)}`);
    for (const { n, winner } of timeline.reached) {
      const record = reached.find((one) => one.n === n)!;
      if (!isRecordOf(record, winner))
        throw new Error(`M3: ${name} has ${JSON.stringify(record)} instead of ${JSON.stringify(winner)}`);
    }
    return reached.length;
  }

  #add({ atMs }: Batch, operation: Operation, outcome: number, at: number, v: number): void {
    const { post, metric, kind, value, actor } = operation;
    const timeline = this.#timeline(post, metric);
    const before = timeline.total;
    if (kind !== 'set') timeline.counter += (outcome & APPLIED) > 0 ? value : 0;
    else if (actor !== null) this.#set(post, metric, actor, value === 1);
    if (timeline.total !== before) timeline.points.push({ at, operation, total: timeline.total, v, atMs });
  }

  #set(post: string, metric: number, actor: Key64, on: boolean): void {
    const member = toHex64(actor);
    if (!on) this.#timeline(post, metric).members.delete(member);
    else {
      this.#timeline(post, metric).members.add(member);
      for (const other of this.metrics.otherOptions[metric]!) this.#timeline(post, other).members.delete(member);
    }
  }

  /** @param at `null`: a repetition */
  #isWinner({ post, metric, session, seq }: Operation, at: number | null): boolean {
    return this.#timeline(post, metric).reached.some(({ winner }) =>
      at === null
        ? winner.operation.seq === seq && isDeepStrictEqual(winner.operation.session, session)
        : winner.at === at,
    );
  }

  #timeline(post: string, metric: number): Timeline {
    const key = `${metric} ${post}`;
    let timeline = this.#timelines.get(key);
    if (timeline === undefined) this.#timelines.set(key, (timeline = new Timeline()));
    return timeline;
  }
}

function isRecordOf(record: ReachedMilestone, { operation, total, v, atMs }: Point): boolean {
  const { actor, session, seq, kind, value } = operation;
  const expected = { actor, session, seq, kind, value, total, v, atMs, missed: false };
  return (Object.keys(expected) as (keyof typeof expected)[]).every((field) =>
    isDeepStrictEqual(record[field], expected[field]),
  );
}
