/** How often a costly property is tried; `TEST_SCALE=20` tries for longer. A failure prints the seed to try again by. */
export const RUNS = 40 * Number(process.env['TEST_SCALE'] ?? 1);
