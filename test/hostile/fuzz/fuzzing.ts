import fc from 'fast-check';
import { SCALE } from '../../property/runs.js';

/** A failure prints the seed; the same seed makes the same inputs. */
export const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);

/** Inputs that a gateway gets at once. */
const BATCH = 64;

/** Share of the inputs in `npm test`, which has six minutes for all tests. */
const QUICK = 0.25;

/** @param count inputs of one surface for each step of TEST_SCALE above 1; all surfaces together have 50,000, and a million with TEST_SCALE=20 */
export function scaled(count: number): number {
  return Math.ceil(count * (SCALE > 1 ? SCALE : QUICK));
}

/**
 * Feeds a decoder in this process. `kept` inputs go first, because each of them has failed once.
 * @param check throws if an invariant does not hold
 */
export function fuzz<T>(count: number, input: fc.Arbitrary<T>, kept: readonly T[], check: (input: T) => void): void {
  fc.assert(fc.property(input, check), {
    seed: SEED,
    numRuns: scaled(count) + kept.length,
    examples: kept.map((one): [T] => [one]),
  });
}

/**
 * Feeds a gateway with batches of 64 inputs. A failure is not shrunk, because a gateway that has failed once may fail with
 * all later inputs.
 */
export async function fuzzInBatches<T>(
  count: number,
  input: fc.Arbitrary<T>,
  kept: readonly T[],
  check: (inputs: readonly T[]) => Promise<void>,
): Promise<void> {
  const batch = fc.array(input, { minLength: BATCH, maxLength: BATCH });
  const examples: [T[]][] = kept.length === 0 ? [] : [[[...kept]]];
  const numRuns = Math.ceil(scaled(count) / BATCH) + examples.length;
  await fc.assert(fc.asyncProperty(batch, check), { seed: SEED, numRuns, examples, endOnFailure: true });
}
