import { COUNTING_RULES, type CountingRules } from '../../src/counters/apply.js';
import type { Batch } from '../../src/counters/batch.js';
import { computeTotal } from '../../src/counters/bucket.js';
import type { Milestones, ReachedMilestone, reachMilestones } from '../../src/counters/milestones.js';
import { APPLIED, DUPLICATE, REACHED } from '../../src/counters/operation.js';
import type { ReadMilestone } from '../../src/store/milestone-store.js';
import type { MemoryBucket } from '../contract/memory-bucket.js';
import { MemoryMilestones } from '../contract/memory-milestones.js';

/** The rules of a history. A planted fault replaces one of them. */
export interface MilestoneRules {
  readonly counting: CountingRules;
  readonly newMilestones: (nowMs: () => number) => MemoryMilestones;
  /** Runs after a change, as a command of its own: a failover may come between. */
  readonly follow: (bucket: MemoryBucket) => void;
  /** Whether a record that is read is final. */
  readonly isFinal: (record: ReadMilestone, nowMs: number) => boolean;
  /** The outcomes of a batch that is sent again. */
  readonly repeat: (bucket: MemoryBucket, batch: Batch, outcomes: Uint8Array) => Uint8Array;
  /** The outcomes of a batch that is applied. */
  readonly answer: (bucket: MemoryBucket, batch: Batch, outcomes: Uint8Array) => Uint8Array;
  /** Whether the total that a milestone is armed above was read by an earlier command. */
  readonly armsByEarlierTotal: boolean;
}

export const MILESTONE_RULES: MilestoneRules = {
  counting: COUNTING_RULES,
  newMilestones: (nowMs) => new MemoryMilestones(nowMs),
  follow: () => undefined,
  isFinal: ({ final }) => final,
  repeat: (_bucket, _batch, outcomes) => outcomes,
  answer: (_bucket, _batch, outcomes) => outcomes,
  armsByEarlierTotal: false,
};

type Reach = typeof reachMilestones;
type Reached = ReturnType<Reach>;
type Kept = (milestones: Milestones, reached: readonly ReachedMilestone[]) => Milestones;

/** The faults that the simulation has to find. */
export const MILESTONE_PLANTS: Readonly<Record<string, MilestoneRules>> = {
  'the record is written by a second command': {
    ...withMilestones((nowMs) => new LateMilestones(nowMs)),
    follow: ({ milestones }) => (milestones as LateMilestones).writeLate(),
  },
  'a milestone stays armed after a toggle has crossed it': withReach((before, crossing) => {
    const after = COUNTING_RULES.reachMilestones(before, crossing);
    if (after === null || crossing.kind !== 'set') return after;
    const reached = [...before.reached.filter(({ n }) => !before.armed.includes(n)), ...after.reached];
    return { milestones: { armed: before.armed, reached }, reached: after.reached };
  }),
  'a total has to be above the milestone': withReach((before, crossing) =>
    reachBy(before, crossing, (n) => n < crossing.total),
  ),
  'a total has to be equal to the milestone': withReach((before, crossing) =>
    reachBy(before, crossing, (n) => n === crossing.total),
  ),
  'a batch that is sent again reaches milestones again': { ...MILESTONE_RULES, repeat: reachAgain },
  'a batch that is sent again is answered as duplicates': { ...MILESTONE_RULES, repeat: answerAsDuplicates },
  'an import wins': withMilestones((nowMs) => new ImportingMilestones(nowMs)),
  'a record is final by the age of its batch': withFinality(({ atMs }, nowMs) => nowMs - atMs >= 30_000),
  'a record is final after 10 s': withFinality(({ recordedAtMs }, nowMs) => nowMs - recordedAtMs >= 10_000),
  'a milestone can be armed again after it was reached': withMilestones((nowMs) => new ForgetfulMilestones(nowMs)),
  'an operation reaches only the least milestone': withReach((before, crossing) =>
    reachBy(before, crossing, (n) => n === before.armed[0] && n <= crossing.total),
  ),
  'a milestone is armed by a total that was read before': { ...MILESTONE_RULES, armsByEarlierTotal: true },
  'a retry is recognised by its seq alone': { ...MILESTONE_RULES, answer: recogniseBySeq },
};

/** Writes records after the change that reached them. */
class LateMilestones extends MemoryMilestones {
  #late: (() => void)[] = [];

  override set(post: string, metric: number, milestones: Milestones, reached: readonly ReachedMilestone[]): void {
    const early = milestones.reached.filter((one) => !reached.includes(one));
    super.set(post, metric, { armed: milestones.armed, reached: early }, reached);
    if (reached.length === 0) return;
    this.#late.push(() => {
      const now = this.get(post, metric)!;
      super.set(post, metric, { armed: now.armed, reached: [...now.reached, ...reached] }, []);
    });
  }

  writeLate(): void {
    for (const write of this.#late.splice(0)) write();
  }

  override copy(): MemoryMilestones {
    return copyInto(this, new LateMilestones(this.nowMs));
  }
}

/** Keeps milestones in another form. */
class ChangedMilestones extends MemoryMilestones {
  constructor(
    nowMs: () => number,
    private readonly keep: Kept,
  ) {
    super(nowMs);
  }

  override set(post: string, metric: number, milestones: Milestones, reached: readonly ReachedMilestone[]): void {
    super.set(post, metric, this.keep(milestones, reached), reached);
  }

  override copy(): MemoryMilestones {
    return copyInto(this, new ChangedMilestones(this.nowMs, this.keep));
  }
}

/** Takes an import for an addition. */
class ImportingMilestones extends ChangedMilestones {
  constructor(nowMs: () => number) {
    super(nowMs, ({ armed, reached }) => ({ armed, reached: reached.map((one) => ({ ...one, missed: false })) }));
  }
}

/** Keeps only the records of the last crossing. */
class ForgetfulMilestones extends ChangedMilestones {
  constructor(nowMs: () => number) {
    super(nowMs, ({ armed, reached }, now) => ({ armed, reached: now.length > 0 ? now : reached.slice(-1) }));
  }
}

function copyInto<T extends MemoryMilestones>(from: MemoryMilestones, to: T): T {
  for (const { post, metric, milestones } of from.list())
    MemoryMilestones.prototype.set.call(to, post, metric, milestones, []);
  return to;
}

function reachBy(
  { armed, reached }: Milestones,
  crossing: Parameters<Reach>[1],
  isReached: (n: number) => boolean,
): Reached {
  const records = armed.filter(isReached).map((n) => ({ n, ...crossing, missed: false }));
  if (records.length === 0) return null;
  const milestones = { armed: armed.filter((n) => !isReached(n)), reached: [...reached, ...records] };
  return { milestones, reached: records };
}

/** As though its operations counted above the present total. */
function reachAgain(bucket: MemoryBucket, { operations, atMs }: Batch, outcomes: Uint8Array): Uint8Array {
  return outcomes.map((outcome, i) => {
    const { post, metric, kind, value, actor, session, seq } = operations[i]!;
    const before = bucket.milestones.get(post, metric);
    if ((outcome & APPLIED) === 0 || before === undefined) return outcome;
    const state = bucket.post(post)!;
    const total = computeTotal(state.metrics[metric]) + value;
    const { region, epoch } = bucket.incarnation;
    const times = { atMs, recordedAtMs: bucket.milestones.nowMs() };
    const crossing = { actor, session, seq, kind, value, total, v: state.v, region, epoch, ...times };
    const after = COUNTING_RULES.reachMilestones(before, crossing);
    if (after === null) return outcome;
    bucket.milestones.set(post, metric, after.milestones, after.reached);
    return outcome | REACHED;
  });
}

/** From the records, which do not name an operation without a session. */
function answerAsDuplicates(bucket: MemoryBucket, { operations }: Batch, outcomes: Uint8Array): Uint8Array {
  return outcomes.map((outcome, i) => {
    const { post, metric, session, seq } = operations[i]!;
    const { reached = [] } = bucket.milestones.get(post, metric) ?? {};
    const won = session !== null && reached.some((one) => one.session?.lo === session.lo && one.seq === seq);
    return won ? outcome | REACHED : outcome & ~REACHED;
  });
}

function recogniseBySeq(bucket: MemoryBucket, { operations }: Batch, outcomes: Uint8Array): Uint8Array {
  return outcomes.map((outcome, i) => {
    const { post, metric, seq } = operations[i]!;
    if ((outcome & DUPLICATE) === 0) return outcome;
    const { reached = [] } = bucket.milestones.get(post, metric) ?? {};
    return reached.some((one) => one.session !== null && one.seq === seq) ? outcome | REACHED : outcome;
  });
}

function withReach(reach: Reach): MilestoneRules {
  return { ...MILESTONE_RULES, counting: { ...COUNTING_RULES, reachMilestones: reach } };
}

function withMilestones(newMilestones: MilestoneRules['newMilestones']): MilestoneRules {
  return { ...MILESTONE_RULES, newMilestones };
}

function withFinality(isFinal: MilestoneRules['isFinal']): MilestoneRules {
  return { ...MILESTONE_RULES, isFinal };
}
