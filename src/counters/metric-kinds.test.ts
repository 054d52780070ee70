import { expect, it } from '@jest/globals';
import { parseMetricKind } from './metric-kinds.js';

it.each([
  ['toggle', 'increment', true, { kind: 'set', value: 1 }],
  ['toggle', 'decrement', true, { kind: 'set', value: 0 }],
  ['toggle', 'increment', false, { kind: 'adjust', value: 1 }],
  ['toggle', 'decrement', false, { kind: 'adjust', value: -1 }],
  ['tally', 'increment', true, { kind: 'add', value: 1 }],
  ['tally', 'increment', false, { kind: 'add', value: 1 }],
  ['unique', 'increment', true, { kind: 'set', value: 1 }],
  ['unique@30m', 'increment', true, { kind: 'visit', value: 1 }],
  ['choice@vote', 'increment', true, { kind: 'set', value: 1 }],
  ['choice@vote', 'decrement', true, { kind: 'set', value: 0 }],
  ['choice@vote', 'increment', false, { kind: 'adjust', value: 1 }],
] as const)('a %s takes the request %s with actor %s as its operation', (name, action, hasActor, operation) => {
  expect(parseMetricKind(name).operationFor(action, hasActor)).toEqual(operation);
});
