import { expect, test } from '@jest/globals';
import { LogProgress } from '../../src/log/log-progress.js';
import { Random } from '../support/random.js';
import { BUCKETS, METRICS } from './log-store.js';
import { LogWorld } from './log-world.js';
import { SimulatedProcess } from './simulated-process.js';

const ENTRIES = 4;
/** Enough to read an entry, and not enough for idle buckets to follow the others. */
const READING_MS = 2_500;

test('a dead event does not seem to wait once it has a letter', async () => {
  const world = new LogWorld(new Random(1));
  const store = world.store.connect(new SimulatedProcess(world.clock));
  const progress = new LogProgress(world.log, store, { buckets: BUCKETS, metrics: METRICS });
  const waiting: number[] = [];
  for (let i = 0; i < ENTRIES; i++) {
    await world.sendForeign();
    await world.clock.advance(READING_MS);
    const measured = progress.measure();
    await world.clock.advance(READING_MS);
    waiting.push((await measured).partitions.reduce((sum, { waitingEvents }) => sum + waitingEvents, 0));
  }
  expect(waiting).toEqual(Array(ENTRIES).fill(0));
  expect((await world.readLetters()).length).toBeGreaterThanOrEqual(ENTRIES);
  for (const { process } of world.gateways) process.kill();
});
