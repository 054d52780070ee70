import { expect, test } from '@jest/globals';
import { PositionHistory } from './position-history.js';

const AGE_MS = 1_600;

test('a position is settled when all positions were at or above it for the whole age', () => {
  const history = new PositionHistory(AGE_MS);
  history.record(0, 10);
  history.record(1_000, 20);
  expect(history.settledPosition(1_599)).toBe(0);
  expect(history.settledPosition(1_600)).toBe(10);
  expect(history.settledPosition(2_600)).toBe(20);
});

test('positions that go back take earlier ones with them', () => {
  const history = new PositionHistory(AGE_MS);
  history.record(0, 10);
  history.record(1_000, 20);
  history.record(1_500, 5);
  history.record(1_550, 20);
  expect(history.settledPosition(3_000)).toBe(5);
  history.record(3_000, 30);
  history.record(4_600, 30);
  expect(history.settledPosition(4_600)).toBe(30);
});

test('nothing is settled after the positions may have gone back unseen', () => {
  const history = new PositionHistory(AGE_MS);
  history.record(0, 10);
  history.clear();
  history.record(1_600, 10);
  expect(history.settledPosition(1_600)).toBe(0);
});

test('positions are settled at once if nothing can take them back', () => {
  const history = new PositionHistory(0);
  history.record(0, 10);
  expect(history.settledPosition(0)).toBe(10);
});

test('frequent positions are settled little later than rare ones', () => {
  const history = new PositionHistory(AGE_MS);
  for (let nowMs = 0; nowMs <= 100 * AGE_MS; nowMs += 10) history.record(nowMs, nowMs);
  expect(history.settledPosition(100 * AGE_MS)).toBeGreaterThan(98.8 * AGE_MS);
});
