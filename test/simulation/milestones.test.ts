import { describe, expect, test } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { type HistoryStats, runMilestonesHistory } from './milestones-history.js';
import { MILESTONE_PLANTS, MILESTONE_RULES } from './milestones-rules.js';

const HISTORIES = 1_000 * SCALE;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** Histories within which a planted fault is found. */
const PLANTED = 1_000;
/** Where their search begins: none of them takes more than 50 histories from here. */
const PLANTED_SEED = 600_001;

describe('milestones of one region', () => {
  test(
    `each milestone has one final winner, the one of the ledger, after ${HISTORIES} histories of failures (TEST_SEED=${SEED})`,
    async () => {
      const sums: Record<string, number> = {};
      for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
        const { fault, stats } = await runMilestonesHistory(seed, MILESTONE_RULES);
        if (fault !== '') throw new Error(`seed ${seed}: ${fault}`);
        for (const [name, count] of Object.entries(stats) as [keyof HistoryStats, number][])
          sums[name] = (sums[name] ?? 0) + count;
      }
      // Histories without each of these events would prove nothing.
      for (const [name, sum] of Object.entries(sums)) expect([name, sum > HISTORIES / 20]).toEqual([name, true]);
    },
    LIMIT_MS,
  );

  test.each(Object.entries(MILESTONE_PLANTS))(
    'the simulation finds the planted fault: %s',
    async (_, rules) => {
      let fault = '';
      for (let seed = PLANTED_SEED; seed < PLANTED_SEED + PLANTED && fault === ''; seed++)
        ({ fault } = await runMilestonesHistory(seed, rules));
      expect(fault).not.toBe('');
    },
    LIMIT_MS,
  );
});
