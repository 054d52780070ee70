import { COUNTING_RULES, type CountingRules } from '../../src/counters/apply.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import { HomeExchange } from '../../src/counters/replication/home-exchange.js';
import type { HomeDelta } from '../../src/counters/replication/delta.js';
import { jest } from '@jest/globals';
import type { Invariant } from './home-invariants.js';
import { compareIncarnations } from '../../src/counters/pn-counter.js';
import { HOME_RULES, type HomeRules } from '../../src/counters/replication/home-rules.js';

/** Histories in which the conditions of a fault are frequent. */
export interface Course {
  readonly plant?: HomePlant;
  readonly mode?: 'order' | 'strict';
  readonly failsOver?: boolean;
  /** Clocks are far apart, and the home has the slowest: stamps of other regions are above the one of the claim, as if they came after it. */
  readonly isSkewed?: boolean;
  /** Operators take over, disarm and arm more often. */
  readonly isOperated?: boolean;
  /** In place of one by chance. */
  readonly metric?: number;
}

interface Planted {
  readonly breaks: readonly Invariant[];
  readonly from: number;
  readonly course: Omit<Course, 'plant'>;
}

/** Planted faults, the invariants of home-invariants.ts that each of them breaks, and the histories that find it. */
export const HOME_PLANTS = {
  'the stable stamp as the barrier': plant(['H2'], 200_081, { isSkewed: true }),
  // Updates of toggles come in other deltas than the confirmation.
  'a confirmation without the version vector': plant(['H2'], 200_166, { metric: LIKES }),
  'forwarded operations are marked as done': plant(['counted'], 200_001, { metric: VIEWS }),
  'replays of forwarded operations': plant(['H4'], 200_001, { failsOver: true }),
  'a retry after the release counts here': plant(['H4'], 200_001),
  'a crossing before the barrier': plant(['H3', 'E', 'R', 'U'], 200_001, { metric: VIEWS }),
  'a confirmation of an earlier incarnation': plant(['H3'], 200_066, { failsOver: true }),
  'a new home that ignores what was decided': plant(['H3', 'U'], 200_061),
  'a freeze in a write of its own': plant(['H1'], 200_001),
  'a release before all have confirmed the home': plant(['H3'], 200_071, { isOperated: true }),
  'a release that is never shipped': plant(['released'], 200_001),
  'records that are never shipped': plant(['agreed'], 200_001),
  'an incarnation after a failover that does not confirm': plant(['answered', 'L'], 200_001, { failsOver: true }),
  'the first that is reached disarms the others': plant(['L'], 200_001),
} as const;
export type HomePlant = 'none' | keyof typeof HOME_PLANTS;

/** @param from the seed from which it is searched: the fault is found soon after it */
function plant(breaks: readonly Invariant[], from: number, course: Omit<Course, 'plant'> = {}): Planted {
  return { breaks, from, course };
}

type Built = Parameters<HomeExchange['build']>;

/** Ends the faults that are planted in methods. */
let restore = (): void => undefined;

/** Plants a fault in the methods of all regions, in place of the one before. */
export function setPlant(plant: HomePlant): void {
  restore();
  restore = plantInMethods(plant);
}

function plantInMethods(plant: HomePlant): () => void {
  switch (plant) {
    case 'a release that is never shipped':
      return changeShipped((homes) => homes.filter(({ home }) => home?.mode !== 'released'));
    case 'records that are never shipped':
      return changeShipped((homes) => homes.map((one) => ({ ...one, reached: [] })));
    case 'an incarnation after a failover that does not confirm':
      return changeShipped((homes) =>
        homes.map((one) => ({ ...one, confirmations: one.confirmations.filter(({ epoch }) => epoch === 1) })),
      );
    default:
      return () => undefined;
  }
}

function changeShipped(change: (homes: HomeDelta[]) => HomeDelta[]): () => void {
  const build: (this: HomeExchange, ...args: Built) => HomeDelta[] = Reflect.get(HomeExchange.prototype, 'build');
  const spy = jest.spyOn(HomeExchange.prototype, 'build').mockImplementation(function (this: HomeExchange, ...args) {
    return change(build.apply(this, args));
  });
  return () => spy.mockRestore();
}

export function countingRulesOf(plant: HomePlant): CountingRules {
  switch (plant) {
    case 'forwarded operations are marked as done':
      return { ...COUNTING_RULES, elsewhereSetsMark: true };
    case 'the first that is reached disarms the others':
      return {
        ...COUNTING_RULES,
        reachMilestones: (milestones, crossing) => {
          const result = COUNTING_RULES.reachMilestones(milestones, crossing);
          return result && { ...result, milestones: { ...result.milestones, armed: [] } };
        },
      };
    default:
      return COUNTING_RULES;
  }
}

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
    case 'a release before all have confirmed the home':
      return { ...HOME_RULES, waitsToRelease: false };
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
