/** TEST_SCALE=20 tries what is tried at random for longer. A failure prints the seed to try again by. */
export const SCALE = Number(process.env['TEST_SCALE'] ?? 1);

/** How often a costly property is tried. */
export const RUNS = 40 * SCALE;

/** A guard against hanging, and no part of what is tested: a slow or busy machine may take this long. */
export const LIMIT_MS = 450_000 * SCALE;
