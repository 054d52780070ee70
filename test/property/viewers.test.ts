import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Random } from '../support/random.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { LIMIT_MS, SCALE } from './runs.js';
import { ViewersWorld, type ViewersShape } from './viewers-world.js';

const STEPS = 400;
const CHECK_EVERY = 20;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);

const shapes: readonly (readonly [string, ViewersShape])[] = [
  ['few people', { posts: 3, people: 5, crowd: 1 }],
  ['crowds, which take several calls', { posts: 2, people: 1_000, crowd: 600 }],
];

let world: ViewersWorld;

beforeAll(async () => {
  world = await ViewersWorld.open(await startRedis());
});
afterAll(async () => {
  await world.close();
  await stopRedis();
});

describe(`viewers of several gateways on one Redis (TEST_SEED=${SEED})`, () => {
  it.each(shapes)(
    'Redis counts each person once and removes dead gateways, whatever reports, replies and data are lost: %s',
    async (_, shape) => {
      for (let seed = SEED; seed < SEED + 2 * SCALE; seed++) {
        await world.reset(shape, new Random(seed));
        for (let step = 1; step <= STEPS; step++) {
          await world.step();
          if (step % CHECK_EVERY === 0)
            expect({ seed, step, faults: await world.findFaults() }).toEqual({ seed, step, faults: [] });
        }
        world.leaveAll();
        expect({ seed, faults: await world.findFaults() }).toEqual({ seed, faults: [] });
      }
    },
    LIMIT_MS,
  );
});
