import { describe, expect, test } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { runHistory } from './sink-history.js';
import { PLANTS, SINK_RULES } from './sink-rules.js';

const HISTORIES = 150 * SCALE;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** Histories within which a planted fault is found. */
const PLANTED = 1_000;
/** Where their search begins: none of them takes more than 600 histories from here. */
const PLANTED_SEED = 600_001;

describe('copies of the counts', () => {
  test(
    `copies equal the store after ${HISTORIES} histories of failures (TEST_SEED=${SEED})`,
    async () => {
      let halted = 0;
      for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
        const { fault, isHalted } = await runHistory(seed, SINK_RULES);
        if (fault !== '') throw new Error(`seed ${seed}: ${fault}`);
        if (isHalted) halted += 1;
      }
      // A store that is adopted hides faults that came before.
      expect(halted).toBeLessThan(HISTORIES / 2);
    },
    LIMIT_MS,
  );

  test.each(Object.entries(PLANTS))(
    'the simulation finds the planted fault: %s',
    async (_, rules) => {
      let fault = '';
      for (let seed = PLANTED_SEED; seed < PLANTED_SEED + PLANTED && fault === ''; seed++)
        ({ fault } = await runHistory(seed, rules));
      expect(fault).not.toBe('');
    },
    LIMIT_MS,
  );
});
