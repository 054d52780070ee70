import { describe, expect, test } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { type Course, HOME_PLANTS, type HomePlant } from './home-plants.js';
import { type Invariant, INVARIANTS } from './home-invariants.js';
import { findFault, type HistoryStats, runHomesHistory } from './homes-history.js';

const HISTORIES = 30 * SCALE;
const DAY_MS = 86_400_000;
/** Other histories each day. */
const SEED = Number(process.env['TEST_SEED'] ?? Math.floor(Date.now() / DAY_MS) * 1_000);
/** Histories within which a planted fault is found. */
const PLANTED = 1_000;

const PLANTS = Object.entries(HOME_PLANTS).flatMap(([plant, { breaks, from, course }]) =>
  breaks.map((invariant) => ({ plant: plant as HomePlant, invariant, from, course, meaning: INVARIANTS[invariant] })),
);

describe(`milestones of three regions (TEST_SEED=${SEED})`, () => {
  test.each<Course>([
    { mode: 'strict' },
    { mode: 'strict', isSkewed: true },
    { mode: 'strict', isOperated: true },
    { mode: 'strict', failsOver: true },
    { mode: 'order' },
    { mode: 'order', failsOver: true },
  ])(
    `all invariants hold in ${HISTORIES} histories of %j`,
    async (course) => {
      const sums: Partial<Record<keyof HistoryStats, number>> = {};
      for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
        const { broken, stats } = await runHomesHistory(seed, course);
        if (broken.size > 0) throw new Error(`seed ${seed}: ${JSON.stringify([...broken])}`);
        for (const [name, count] of Object.entries(stats) as [keyof HistoryStats, number][])
          sums[name] = (sums[name] ?? 0) + count;
      }
      // Histories without each of these events would prove nothing.
      const events =
        course.isOperated === true ? (['takeovers', 'disarmed', 'armedAgain', 'named'] as const) : (['named'] as const);
      for (const name of events) expect([name, sums[name]! > HISTORIES / 20]).toEqual([name, true]);
    },
    LIMIT_MS,
  );

  test('each invariant is broken by a planted fault', () => {
    const broken = new Set<Invariant>(PLANTS.map(({ invariant }) => invariant));
    expect(Object.keys(INVARIANTS).filter((one) => !broken.has(one as Invariant))).toEqual([]);
  });

  test.each(PLANTS)(
    'histories find that $plant breaks $invariant: $meaning',
    async ({ plant, invariant, from, course }) => {
      expect(await findFault({ plant, ...course }, from, PLANTED, invariant)).not.toBe('');
    },
    LIMIT_MS,
  );
});
