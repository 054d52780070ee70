import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FanoutModel, POSTS, VIEWERS } from '../simulation/fanout-model.js';
import { LIMIT_MS, RUNS } from './runs.js';

const viewer = fc.nat(VIEWERS - 1);
const post = fc.constantFrom(...POSTS);
const posts = fc.subarray([...POSTS], { minLength: 1 });

/** Everything that can happen, each as a step of the model. */
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('change' as const), post, likes: fc.integer({ min: -3, max: 9 }) }),
  },
  // Published in any order, some twice, some never.
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('announce' as const), which: fc.array(fc.nat(20), { maxLength: 4 }) }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 1, max: 250 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('subscribe' as const), viewer, posts }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('read' as const),
      which: fc.array(fc.nat(5), { minLength: 1, maxLength: 3 }),
      fails: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('unsubscribe' as const), viewer, posts }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('slow' as const), viewer, slow: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('repeat' as const), viewer, posts }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), viewer }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('epoch' as const) }) },
);

test(
  'every viewer that stays has exactly the stored counts within a tick, whatever happens',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 100, size: 'max' }), async (steps) => {
        const model = new FanoutModel();
        for (const one of steps) await model.take(one);
        await model.end();
        expect(model.faults).toEqual([]);
      }),
      { numRuns: 40 * RUNS },
    );
  },
  LIMIT_MS,
);
