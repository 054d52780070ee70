import { expect, test } from '@jest/globals';
import { ADDRESS_RATE_MIN, MessageBudget, toMessageRate } from './message-budget.js';
import { TokenBucket } from './rate-limit.js';

test('the rate of messages follows that of operations, has a minimum, and is unlimited where operations are', () => {
  expect([0, 1, 500, 5_000].map((operations) => toMessageRate(operations, ADDRESS_RATE_MIN))).toEqual([
    0, 10_000, 10_000, 50_000,
  ]);
});

test('units are taken from both the connection and its address, or from neither', () => {
  const address = new TokenBucket(40, 0);
  const budget = new MessageBudget(50, address, 0);
  expect([budget.renew(0, -1), budget.renew(0, -1)]).toEqual([32, 0]);
  expect(address.canTake(0, 7)).toBe(true);
  expect(address.canTake(0, 8)).toBe(false);
  expect(budget.renew(1_000, -1)).toBe(32);
});

test('units that a message takes beyond the budget are paid later, up to a bound', () => {
  const address = new TokenBucket(10_000, 0);
  expect(new MessageBudget(50, address, 0).renew(0, -1_000_000)).toBe(32);
  expect(address.canTake(0, 10_000 - 2_032)).toBe(true);
  expect(address.canTake(0, 10_000 - 2_031)).toBe(false);
});

test('a budget without a limit always has units', () => {
  const budget = new MessageBudget(0, null, 0);
  for (let i = 0; i < 10_000; i++) expect(budget.renew(0, -100)).toBe(32);
});
