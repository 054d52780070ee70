import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  increment,
  mergeEntry,
  type PnCounter,
  type RegionIncarnation,
  sumEntries,
} from '../../src/counters/pn-counter.js';
import { RUNS } from './runs.js';

const REGIONS = ['ap', 'eu', 'us'] as const;

/** Incarnations that do not clash, because region and epoch determine the nonce. */
const incarnation = fc
  .record({ region: fc.constantFrom(...REGIONS), epoch: fc.integer({ min: 1, max: 3 }) })
  .map(({ region, epoch }): RegionIncarnation => ({ region, epoch, nonce: 100 * epoch + REGIONS.indexOf(region) }));
const count = fc.oneof(fc.nat(5), fc.integer({ min: 0, max: 2 ** 52 }));

function counterOf(incarnation: fc.Arbitrary<RegionIncarnation>): fc.Arbitrary<PnCounter> {
  const entry = fc.record({ incarnation, p: count, n: count });
  return fc.uniqueArray(entry, { selector: ({ incarnation: { region } }) => region });
}

const counter = counterOf(incarnation);

/** Entries have no order. */
function sorted(entries: PnCounter): PnCounter {
  return entries.toSorted((a, b) => (a.incarnation.region < b.incarnation.region ? -1 : 1));
}

function merged(...counters: PnCounter[]): PnCounter {
  return sorted(counters.reduce((mine, theirs) => theirs.reduce((counter, entry) => mergeEntry(counter, entry), mine)));
}

describe('merging counters that do not clash', () => {
  it('merging counters is commutative', () => {
    fc.assert(
      fc.property(counter, counter, (a, b) => expect(merged(a, b)).toEqual(merged(b, a))),
      { numRuns: RUNS * 10 },
    );
  });

  it('merging counters is associative', () => {
    fc.assert(
      fc.property(counter, counter, counter, (a, b, c) => {
        expect(merged(a, merged(b, c))).toEqual(merged(merged(a, b), c));
      }),
      { numRuns: RUNS * 10 },
    );
  });

  it('merging a counter twice equals merging it once', () => {
    fc.assert(
      fc.property(counter, counter, (a, b) => {
        expect(merged(a, a)).toEqual(sorted(a));
        expect(merged(merged(a, b), b)).toEqual(merged(a, b));
      }),
      { numRuns: RUNS * 10 },
    );
  });
});

describe('a clash', () => {
  it('an entry that clashes changes nothing', () => {
    const clashing = incarnation.map((replica): RegionIncarnation => ({ ...replica, nonce: replica.nonce + 1_000 }));
    fc.assert(
      fc.property(counter, counterOf(clashing), (mine, theirs) => {
        for (const entry of theirs) {
          const known = mine.find(({ incarnation }) => incarnation.region === entry.incarnation.region);
          if (known?.incarnation.epoch === entry.incarnation.epoch) expect(mergeEntry(mine, entry)).toBe(mine);
        }
      }),
      { numRuns: RUNS * 10 },
    );
  });
});

/** Either a region counts, or its counter reaches another region: at once, or as it was some steps ago. */
const step = fc.oneof(
  fc.record({ kind: fc.constant('count' as const), at: fc.nat(2), p: fc.nat(3), n: fc.nat(2) }),
  fc.record({ kind: fc.constant('merge' as const), at: fc.nat(2), to: fc.nat(2), stale: fc.nat(3) }),
);

describe('regions that count and merge', () => {
  it('regions lose nothing and count nothing twice, however late and often counters arrive', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const incarnations = REGIONS.map((region, i): RegionIncarnation => ({ region, epoch: 1, nonce: i }));
        const histories: PnCounter[][] = incarnations.map(() => [[]]);
        let counted = 0;
        for (const step of steps) {
          const own = histories[step.at]!;
          if (step.kind === 'count') {
            own.push(increment(own.at(-1)!, incarnations[step.at]!, step.p, step.n));
            counted += step.p - step.n;
          } else {
            const sent = own.at(-1 - step.stale) ?? own[0]!;
            const theirs = histories[step.to]!;
            theirs.push(merged(theirs.at(-1)!, sent));
          }
          // A region's own entry never falls back by merging copies of it.
          const before = own.at(-2)?.find(({ incarnation }) => incarnation === incarnations[step.at]);
          const now = own.at(-1)!.find(({ incarnation }) => incarnation === incarnations[step.at]);
          if (before !== undefined) expect(now!.p >= before.p && now!.n >= before.n).toBe(true);
        }
        const finals = histories.map((history) => history.at(-1)!);
        for (const mine of finals) expect(sumEntries(merged(mine, ...finals))).toBe(counted);
      }),
      { numRuns: RUNS * 5 },
    );
  });
});
