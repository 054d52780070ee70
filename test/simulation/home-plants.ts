import { compareIncarnations } from '../../src/counters/pn-counter.js';
import { HOME_RULES, type HomeRules } from '../../src/counters/replication/home-rules.js';

/** Planted faults. */
export const HOME_PLANTS = [
  'the stable stamp as the barrier',
  'a confirmation without the version vector',
  'forwarded operations are marked as done',
  'replays of forwarded operations',
  'a retry after the release counts here',
  'a crossing before the barrier',
  'a confirmation of an earlier incarnation',
  'a new home that ignores what was decided',
  'a freeze in a write of its own',
] as const;
export type HomePlant = 'none' | (typeof HOME_PLANTS)[number];

/** @param nowMs time of the simulation */
export function rulesOf(plant: HomePlant, nowMs: () => number): HomeRules {
  switch (plant) {
    case 'the stable stamp as the barrier': {
      const claimed = new Map<string, number>();
      return {
        ...HOME_RULES,
        hasConfirmationOf: ({ replication, incarnation }, _region, { home }) => {
          const name = `${incarnation.region} ${home!.number}`;
          if (!claimed.has(name)) claimed.set(name, replication.state.clock);
          return replication.state.stableStamp >= claimed.get(name)!;
        },
      };
    }
    case 'a confirmation without the version vector':
      return {
        ...HOME_RULES,
        hasConfirmationOf: ({ replication }, region, { home, confirmations }) => {
          const one = confirmations.find((confirmation) => confirmation.region === region);
          if (one === undefined || one.home.number !== home?.number || one.home.region !== home.region) return false;
          return compareIncarnations(one, replication.latestIncarnation(region)) === 'same';
        },
      };
    case 'a confirmation of an earlier incarnation':
      return {
        ...HOME_RULES,
        hasConfirmationOf: (bucket, region, shared) => {
          const one = shared.confirmations.find((confirmation) => confirmation.region === region);
          if (one === undefined || one.home.number !== shared.home?.number || one.home.region !== shared.home.region) {
            return false;
          }
          const received = bucket.replication.versionVectorEntry(region);
          return compareIncarnations(one, received) !== 'same' || received.upTo >= one.stamp;
        },
      };
    case 'a retry after the release counts here':
      return { ...HOME_RULES, keepsMarkOf: () => false };
    case 'a crossing before the barrier':
      return { ...HOME_RULES, waitsForConfirmations: false };
    case 'a new home that ignores what was decided':
      return { ...HOME_RULES, honoursDecided: false };
    case 'a freeze in a write of its own': {
      const since = new Map<string, number>();
      return {
        ...HOME_RULES,
        freezes: (home, region) => {
          if (!HOME_RULES.freezes(home, region)) return false;
          const name = `${region} ${home.region} ${home.number}`;
          if (!since.has(name)) since.set(name, nowMs());
          return nowMs() > since.get(name)! + 400;
        },
      };
    }
    default:
      return HOME_RULES;
  }
}
