import { expect, test } from '@jest/globals';
import { Schedule } from './schedule.js';

test('operations without a ramp are due at an even rate', () => {
  const schedule = new Schedule(100, 0, 3);
  expect(schedule.total).toBe(300);
  expect([0, 1, 2, 299].map((k) => schedule.dueMs(k))).toEqual([0, 10, 20, 2_990]);
});

test('the rate grows over the ramp from zero to the full rate', () => {
  const schedule = new Schedule(1_000, 2, 3);
  expect(schedule.total).toBe(4_000);
  const due = Array.from({ length: schedule.total }, (_, k) => schedule.dueMs(k));
  const within = (from: number, to: number): number => due.filter((ms) => ms >= from && ms < to).length;
  expect(within(0, 1_000)).toBe(250);
  expect(within(1_000, 2_000)).toBe(750);
  expect(within(2_000, 5_000)).toBe(3_000);
  expect(due).toEqual(due.toSorted((a, b) => a - b));
});

test('no operation is due at a rate of zero', () => {
  expect(new Schedule(0, 2, 3).total).toBe(0);
});
