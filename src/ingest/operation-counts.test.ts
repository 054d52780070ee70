import { expect, test } from '@jest/globals';
import { APPLIED, DUPLICATE, ON } from '../counters/operation.js';
import { OperationCounts, classifyOutcome } from './operation-counts.js';

test('operations are counted by kind and result', () => {
  const counts = new OperationCounts();
  counts.add('add', 'applied');
  counts.add('add', 'applied');
  counts.add('add', 'RATE_LIMITED');
  counts.add('set', 'duplicate');
  expect([...counts.entries()]).toEqual([
    { kind: 'add', result: 'applied', count: 2 },
    { kind: 'add', result: 'RATE_LIMITED', count: 1 },
    { kind: 'set', result: 'duplicate', count: 1 },
  ]);
});

test('the result is told by the outcome, whatever state it left a toggle in', () => {
  const results = [APPLIED, APPLIED | ON, 0, ON, DUPLICATE, DUPLICATE | ON].map(classifyOutcome);
  expect(results).toEqual(['applied', 'applied', 'unchanged', 'unchanged', 'duplicate', 'duplicate']);
});
