import type { PostMilestone } from '../../src/counters/milestones.js';

/** The age at which a record is final, and the history that a failover loses at most: less than in the field, so that a history has many. */
export const FINAL_MS = 10_000;

/** By the name of a milestone: its record. */
export type MilestoneTable = ReadonlyMap<string, PostMilestone>;

export function nameMilestone({ post, metric, n }: PostMilestone): string {
  return `${post} ${metric} #${n}`;
}

/** The first record of a milestone stays. */
export function writeMilestones(table: Map<string, PostMilestone>, milestones: readonly PostMilestone[]): void {
  for (const one of milestones) if (!table.has(nameMilestone(one))) table.set(nameMilestone(one), one);
}

/** @returns a record in the copy that is not final yet; `''`: there is none */
export function findEarlyRecord(copy: MilestoneTable, nowMs: number): string {
  const early = [...copy.values()].find(({ recordedAtMs }) => recordedAtMs > nowMs - FINAL_MS);
  return early === undefined ? '' : `S5: the record of ${nameMilestone(early)} is ${nowMs - early.recordedAtMs} ms old`;
}

/**
 * Compares a copy with the store.
 * @param hasLostFinal whether the store fell back to a time before some record was final, and may have another winner now
 * @returns a difference; `''`: there is none
 */
export function findOtherRecord(copy: MilestoneTable, store: MilestoneTable, hasLostFinal: boolean): string {
  if (hasLostFinal) return '';
  for (const [name, record] of copy) {
    const inStore = store.get(name);
    if (JSON.stringify(inStore) !== JSON.stringify(record))
      return `S6: ${name} is ${JSON.stringify(record)} in the copy and ${JSON.stringify(inStore)} in the store`;
  }
  return '';
}

/** @param settled records that every copy should have by now */
export function findMissingRecord(copy: MilestoneTable, settled: readonly PostMilestone[]): string {
  const missing = settled.find((one) => !copy.has(nameMilestone(one)));
  return missing === undefined ? '' : `S7: ${nameMilestone(missing)} is in the store only`;
}
