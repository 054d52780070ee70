import { describe, expect, it } from '@jest/globals';
import {
  EMPTY_COUNTER,
  type CounterEntry,
  increment,
  mergeEntry,
  compareIncarnations,
  type RegionIncarnation,
  sumEntries,
} from './pn-counter.js';

const EU: RegionIncarnation = { region: 'eu', epoch: 1, nonce: 10 };
const US: RegionIncarnation = { region: 'us', epoch: 1, nonce: 20 };

function entry(replica: RegionIncarnation, p: number, n = 0): CounterEntry {
  return { incarnation: replica, p, n };
}

describe('a PN-counter', () => {
  it('is the sum of what all regions added less what they took', () => {
    expect(sumEntries(EMPTY_COUNTER)).toBe(0);
    expect(sumEntries([entry(EU, 5, 2), entry(US, 4, 4)])).toBe(3);
  });

  it("grows in the own region's entry and leaves the counter it came from alone", () => {
    const first = increment(EMPTY_COUNTER, EU, 3, 0);
    const second = increment(first, US, 1, 0);
    expect(increment(second, EU, 0, 2)).toEqual([entry(EU, 3, 2), entry(US, 1)]);
    expect(first).toEqual([entry(EU, 3)]);
  });

  it('carries an entry of an earlier epoch over: what it counted was counted', () => {
    const later = { ...EU, epoch: 2, nonce: 11 };
    expect(increment([entry(EU, 3, 1)], later, 1, 0)).toEqual([entry(later, 4, 1)]);
  });
});

describe('merging', () => {
  it('of the same life takes the larger of each number', () => {
    expect(mergeEntry([entry(EU, 5, 1)], entry(EU, 4, 2))).toEqual([entry(EU, 5, 2)]);
  });

  it('takes over what only the other side has', () => {
    expect(mergeEntry([entry(EU, 5)], entry(US, 4))).toEqual([entry(EU, 5), entry(US, 4)]);
  });

  it('replaces a lower epoch even by smaller numbers, and keeps a higher one', () => {
    const later = entry({ ...EU, epoch: 2, nonce: 11 }, 1);
    const earlier = entry(EU, 5);
    expect(mergeEntry([earlier], later)).toEqual([later]);
    expect(mergeEntry([later], earlier)).toEqual([later]);
  });

  it('changes nothing by another life of the same epoch', () => {
    const counter = [entry(EU, 5)];
    expect(mergeEntry(counter, entry({ ...EU, nonce: 11 }, 9))).toBe(counter);
    expect(compareIncarnations({ epoch: 1, nonce: 11 }, EU)).toBe('clash');
  });
});
