import { expect, it } from '@jest/globals';
import { VISIT_MARKS_MAX } from '../counters/bucket.js';
import { Metrics } from '../counters/metrics.js';
import { WindowCheck } from './window-check.js';

it('the log says once which windows are shorter than METRICS says', () => {
  const log: string[] = [];
  const windows = new WindowCheck(Metrics.parse('likes:toggle,views:unique@24h,shares:tally'), (line) =>
    log.push(line),
  );
  windows.check(VISIT_MARKS_MAX - 1);
  expect(log).toEqual([]);
  for (const marks of [VISIT_MARKS_MAX, VISIT_MARKS_MAX + 400]) windows.check(marks);
  expect(log).toEqual([expect.stringMatching(/^METRICS views:unique@24h: more than 262144 visits of a bucket/)]);
});
