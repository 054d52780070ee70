/** TEST_SCALE=20 runs random tests twenty times longer. A failure prints the seed that repeats it. */
export const SCALE = Number(process.env['TEST_SCALE'] ?? 1);

/** Runs of a costly property. */
export const RUNS = 40 * SCALE;

/** A guard against hanging only: a slow or busy machine may take this long. */
export const LIMIT_MS = 450_000 * SCALE;
