import { describe, expect, test } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { runLogHistory } from './log-history.js';
import { LOG_PLANTS, LOG_WORLD_RULES } from './log-rules.js';

const HISTORIES = 250 * SCALE;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** Histories within which a planted fault is found. */
const PLANTED = 1_000;
/** Where their search begins. */
const PLANTED_SEED = 600_001;

describe('a log in front of the store', () => {
  test(
    `every event of the log counts once after ${HISTORIES} histories of failures (TEST_SEED=${SEED})`,
    async () => {
      for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
        const fault = await runLogHistory(seed, LOG_WORLD_RULES);
        if (fault !== '') throw new Error(`seed ${seed}: ${fault}`);
      }
    },
    LIMIT_MS,
  );

  test.each(Object.entries(LOG_PLANTS))(
    'the simulation finds the planted fault: %s',
    async (_, rules) => {
      let fault = '';
      for (let seed = PLANTED_SEED; seed < PLANTED_SEED + PLANTED && fault === ''; seed++)
        fault = await runLogHistory(seed, rules);
      expect(fault).not.toBe('');
    },
    LIMIT_MS,
  );
});
