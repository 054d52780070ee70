import type { WonMilestoneResponse } from '../../src/http/milestones/milestone-responses.js';
import { isNamed, type MilestoneRace, nameOf, type RacedOperation } from './milestone-race.js';

/** The check of a race by its acknowledgements. */
export interface RaceCheck {
  /** Differences between acknowledgements and records. */
  readonly faults: readonly string[];
  /** Winners whose batch the acknowledgements show completely: all of its operations, and the total before and after it. */
  readonly exact: number;
}

/**
 * Checks the winners of a race against the acknowledgements, which know nothing of milestones: each has a version, and the total at that
 * version. So they show which batch took the total over the number, what it added, and who was in it.
 */
export function checkRace(race: MilestoneRace, reached: readonly WonMilestoneResponse[]): RaceCheck {
  const ledger = new RaceLedger(race);
  for (const record of reached) ledger.check(record);
  const { faults, exact } = ledger;
  if (reached.map(({ n }) => n).join() !== race.milestones.join())
    faults.push(`reached ${reached.map(({ n }) => n).join()} instead of ${race.milestones.join()}`);
  for (const operation of race.operations) {
    const hasReached = operation.ack!.reached === true;
    if (hasReached !== isNamed(operation, reached))
      faults.push(`${nameOf(operation)} was acknowledged with reached ${hasReached}`);
  }
  return { faults, exact };
}

class RaceLedger {
  readonly faults: string[] = [];
  exact = 0;
  readonly #totals = new Map<number, number>([[0, 0]]);

  constructor(private readonly race: MilestoneRace) {
    for (const { ack } of race.operations) {
      const { v } = ack!.counts;
      const total = this.#total(ack!);
      if ((this.#totals.get(v) ?? total) !== total) this.faults.push(`version ${v} had two totals`);
      this.#totals.set(v, total);
    }
    if (Math.max(...this.#totals.values()) < race.sum) this.faults.push(`no acknowledgement has the total ${race.sum}`);
  }

  check(record: WonMilestoneResponse): void {
    const { faults, race } = this;
    const { n, v, total, value } = record;
    const winner = race.operations.find((one) => isNamed(one, [record]));
    if (winner?.by !== value || record.missed === true) {
      faults.push(`${n} names nobody's operation: ${JSON.stringify(record)}`);
      return;
    }
    if (total < n || total - value >= n) faults.push(`${n} was reached from ${total - value} to ${total}`);
    for (const [version, one] of this.#totals) {
      if (version < v && one >= n) faults.push(`${n} was reached at ${v}, and version ${version} had ${one}`);
      if (version >= v && one < n && race.metric === 'views')
        faults.push(`${n} was reached at ${v}, and version ${version} had ${one}`);
    }
    if (winner.ack!.counts.v < v) faults.push(`${nameOf(winner)} reached ${n} at ${v}, and was counted before`);
    if (race.metric === 'views') this.#checkBatch(winner, record);
  }

  /** If the acknowledgements show the whole batch, the winner is in it, and others of it make up what was counted before. */
  #checkBatch(winner: RacedOperation, { n, v, total, value }: WonMilestoneResponse): void {
    const [before, after] = [this.#totals.get(v - 1), this.#totals.get(v)];
    // A duplicate may have a later version than its own.
    const batch = this.race.operations.filter(({ ack }) => ack!.counts.v === v && !ack!.duplicate);
    const added = batch.reduce((sum, { by }) => sum + by, 0);
    if (before === undefined || after === undefined || after - before !== added) return;
    this.exact += 1;
    if (!batch.includes(winner)) this.faults.push(`${nameOf(winner)} reached ${n}, and is not in batch ${v}`);
    const sums = new Set([before]);
    for (const { by } of batch.filter((one) => one !== winner)) for (const sum of [...sums]) sums.add(sum + by);
    if (!sums.has(total - value)) this.faults.push(`${n} was reached from ${total - value}, after ${before}`);
  }

  #total({ counts }: NonNullable<RacedOperation['ack']>): number {
    return Number(counts[this.race.metric]);
  }
}
