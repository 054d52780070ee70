import { expect, it } from '@jest/globals';
import { Metrics } from '../../counters/metrics.js';
import { checkMetricNames } from './postgres-tables.js';

it.each(['bucket', 'epoch', 'ctid'])('a metric named %s is rejected, because a column has that name', (name) => {
  expect(() => checkMetricNames(Metrics.parse(`likes:toggle,views:tally,${name}:tally`))).toThrow(
    `METRICS has "${name}", which is another column in PostgreSQL: give the metric another name`,
  );
});

it('other names are accepted, even those of SQL', () => {
  expect(() => checkMetricNames(Metrics.parse('likes:toggle,views:tally,select:tally,user:toggle'))).not.toThrow();
});
