import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { checkEffects } from './simulated-effects.js';
import { type Fault, SEQ_SWAPPED, RESENT_AS_NEW, SENT_BOTH_WAYS, SENT_LATE } from './simulated-faults.js';
import { growing, run, stories } from './simulated-stories.js';

/** Each fault is found within some hundred stories. With this many, missing one is less likely than once in 10^9 runs. */
const STORIES = 5_000;
const IDLE_MS = 90_000;

test.each<[string, Fault]>([
  ['a view that overtakes a like on its way', SENT_LATE],
  ["a view that takes a like's place", SEQ_SWAPPED],
  ['an operation that is sent both ways', SENT_BOTH_WAYS],
  ['a stored operation that is sent again as a new one', RESENT_AS_NEW],
])('the planted fault is found: %s', async (_, fault) => {
  const property = fc.asyncProperty(stories(growing), async (story) => {
    const world = await run(story, undefined, fault);
    await world.heal(IDLE_MS);
    await world.visitUntilSent(IDLE_MS);
    checkEffects(world, false);
  });
  const { failed } = await fc.check(property, { numRuns: STORIES, endOnFailure: true });
  expect(failed).toBe(true);
});
