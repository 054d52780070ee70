import { expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { ViewerCooldownQueue } from './viewer-cooldown-queue.js';
import { Viewer } from './viewer.js';

const TICK_MS = 100;
const sink = {
  write: () => undefined,
  sendMilestone: () => undefined,
  hasUnsent: false,
  disconnectSlow: () => undefined,
};

test('viewers are due one tick after they were added, and those of one turn within milliseconds of each other', async () => {
  const { clock, cooling, due } = world();
  for (const [person, at, goesOn] of [
    ['ada', 0, false],
    ['bob', 0.5, true],
    ['cy', 1, true],
    ['dee', 2, false],
    ['eve', 60, true],
  ] as const) {
    await clock.advance(at - clock.nowMs());
    cooling.add([new Viewer(person, sink)], clock.nowMs(), goesOn);
  }
  await clock.advance(2 * TICK_MS);
  expect(due).toEqual([
    ['ada', 101],
    ['bob', 101],
    ['cy', 101],
    ['dee', 102],
    ['eve', 160],
  ]);
});

test('one timer runs while a viewer waits, and none afterwards', async () => {
  const { clock, cooling } = world();
  for (let i = 0; i < 50; i++) {
    cooling.add([new Viewer(null, sink), new Viewer(null, sink)], clock.nowMs(), false);
    await clock.advance(1);
  }
  expect(clock.timers).toBe(1);
  await clock.advance(TICK_MS);
  expect(clock.timers).toBe(0);
});

test('a timer that fires too early releases no viewer', async () => {
  const { clock, cooling, due } = world();
  // Node's timers may: they count in whole milliseconds.
  cooling.add([new Viewer('ada', sink)], clock.nowMs() + 0.7, false);
  await clock.advance(TICK_MS);
  expect(due).toEqual([]);
  await clock.advance(1);
  expect(due).toEqual([['ada', 100.7]]);
});

function world() {
  const clock = new SimulatedClock();
  const due: [string | null, number][] = [];
  const cooling = new ViewerCooldownQueue(clock, { tickMs: () => TICK_MS }, (viewers) => {
    for (const { person } of viewers) due.push([person, clock.nowMs()]);
  });
  return { clock, cooling, due };
}
