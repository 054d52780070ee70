import { expect, test } from '@jest/globals';
import { ReadyViewers } from './ready-viewers.js';
import { Viewer } from './viewer.js';

test('viewers leave the queue in the order in which they came, even while others come', () => {
  const queue = new ReadyViewers();
  const viewers = Array.from({ length: 9 }, (_, i) => new Viewer(String(i), sink));
  const left: (string | undefined)[] = [];
  for (const [i, viewer] of viewers.entries()) {
    queue.push(viewer);
    if (i % 3 === 2) left.push(queue.shift()?.person ?? undefined);
  }
  expect(queue.length).toBe(6);
  while (queue.length > 0) left.push(queue.shift()?.person ?? undefined);
  expect(left).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8']);
  expect([queue.shift(), queue.shift(), queue.length]).toEqual([undefined, undefined, 0]);
});

const sink = {
  write: () => undefined,
  sendMilestone: () => undefined,
  hasUnsent: false,
  disconnectSlow: () => undefined,
};
