import type { MetricRules } from '../../src/protocol/messages.js';

export const OPTIONS = ['yes', 'no', 'maybe'];
export const TOGGLES = ['likes', 'saves', ...OPTIONS];
export const TALLIES = ['views', 'shares'];
export const UNIQUES = ['readers'];
export const METRICS = [...TOGGLES, ...TALLIES, ...UNIQUES];
export const RULES: MetricRules = { choices: { vote: OPTIONS }, uniques: UNIQUES };

/** A post in the store of the simulated gateway. */
export class PostState {
  v = 1;
  /** The actors of toggles and of uniques. */
  readonly members = new Map([...TOGGLES, ...UNIQUES].map((metric) => [metric, new Set<string>()]));
  readonly tallies = new Map(TALLIES.map((metric) => [metric, 0]));
}
