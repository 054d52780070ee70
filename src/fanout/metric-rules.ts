import { groupBy } from '../common/grouping.js';
import type { Metrics } from '../counters/metrics.js';
import type { MetricRules } from '../protocol/messages.js';

/** Builds what viewers need to show their own operations before they are counted. Empty for tallies and toggles. */
export function buildMetricRules({ list }: Metrics): MetricRules {
  const options = list.filter(({ kind }) => kind.group !== null);
  const uniques = list.filter(({ kind }) => kind.isUnique).map(({ name }) => name);
  const choices = [...groupBy(options, ({ kind }) => kind.group!)].map(
    ([group, metrics]) => [group, metrics.map(({ name }) => name)] as const,
  );
  return {
    ...(choices.length > 0 && { choices: Object.fromEntries(choices) }),
    ...(uniques.length > 0 && { uniques }),
  };
}
