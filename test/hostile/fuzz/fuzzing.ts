import fc from 'fast-check';
import { SCALE } from '../../property/runs.js';

/** A failure prints the seed; the same seed makes the same inputs. */
export const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);

/** Inputs of a batch that goes to a gateway at once. */
const BATCH_MAX = 64;

/** @param count inputs of one surface in `npm test`; all surfaces together have 50,000, and a million with TEST_SCALE=20 */
export function scaled(count: number): number {
  return Math.ceil(count * SCALE);
}

/**
 * Feeds a decoder in this process. `kept` inputs go first: each of them has failed once.
 * @param check throws if what must hold does not
 */
export function fuzz<T>(count: number, input: fc.Arbitrary<T>, kept: readonly T[], check: (input: T) => void): void {
  fc.assert(fc.property(input, check), {
    seed: SEED,
    numRuns: scaled(count) + kept.length,
    examples: kept.map((one): [T] => [one]),
  });
}

/**
 * Feeds a gateway with batches of up to 64 inputs. A failure is not shrunk: a gateway that has failed once may fail with
 * whatever follows.
 * @returns how many inputs it was given
 */
export async function fuzzInBatches<T>(
  count: number,
  input: fc.Arbitrary<T>,
  kept: readonly T[],
  check: (inputs: readonly T[]) => Promise<void>,
): Promise<number> {
  let given = 0;
  const batch = fc.array(input, { minLength: BATCH_MAX, maxLength: BATCH_MAX });
  await fc.assert(
    fc.asyncProperty(batch, async (inputs) => {
      given += inputs.length;
      await check(inputs);
    }),
    {
      seed: SEED,
      numRuns: Math.ceil(scaled(count) / BATCH_MAX) + Math.min(kept.length, 1),
      examples: kept.length === 0 ? [] : [[[...kept]]],
      endOnFailure: true,
    },
  );
  return given;
}
