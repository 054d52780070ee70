import { describe, expect, test } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { HOME_PLANTS } from './home-plants.js';
import { findFault } from './homes-history.js';

const HISTORIES = 300 * SCALE;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** Histories within which a planted fault is found. */
const PLANTED = 1_000;

describe(`milestones of three regions (TEST_SEED=${SEED})`, () => {
  test.each([
    [{ mode: 'strict' }],
    [{ mode: 'strict', failsOver: true }],
    [{ mode: 'order' }],
    [{ mode: 'order', failsOver: true }],
  ] as const)(
    `exactly one is named in ${HISTORIES} histories of %j`,
    async (course) => {
      expect(await findFault(course, SEED, HISTORIES)).toBe('');
    },
    LIMIT_MS,
  );

  test.each(HOME_PLANTS)(
    'histories find this planted fault: %s',
    async (plant) => {
      const failsOver = /incarnation|replays/.test(plant);
      const fault = await findFault({ plant, failsOver }, 1, PLANTED);
      expect(fault).not.toBe('');
    },
    LIMIT_MS,
  );
});
