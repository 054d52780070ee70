import { describe, expect, it } from '@jest/globals';
import { METRICS } from '../../../../test/contract/operations.js';
import { COUNT_MAX } from '../../../counters/pn-counter.js';
import { decodeMilestoneNews } from './milestones-decoder.js';

const AT_MS = Date.UTC(2026, 0, 1);

describe('a published milestone', () => {
  it('a message has the metric, number, version and time of each milestone', () => {
    const message = `m[1,10,3,${AT_MS},0,${COUNT_MAX},4,${AT_MS}]`;
    expect(decodeMilestoneNews('a', message, METRICS)).toEqual([
      { post: 'a', metric: 1, n: 10, v: 3, atMs: AT_MS },
      { post: 'a', metric: 0, n: COUNT_MAX, v: 4, atMs: AT_MS },
    ]);
  });

  it('metrics that only newer gateways know are left out', () => {
    expect(decodeMilestoneNews('a', `m[4,10,3,${AT_MS}]`, METRICS)).toEqual([]);
  });

  it.each(['m', 'm{}', 'm[1,2,3]', 'm[1,2,3,"4"]', 'm[1,2,3,-4]', 'm[1,2,3,4.5]', `m[1,${2 ** 53},3,4]`])(
    'the message %s is rejected',
    (message) => {
      expect(() => decodeMilestoneNews('a', message, METRICS)).toThrow(/whole numbers|JSON/);
    },
  );
});
