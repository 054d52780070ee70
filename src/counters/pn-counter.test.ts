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
  it('a counter is the sum of what regions added minus what they took away', () => {
    expect(sumEntries(EMPTY_COUNTER)).toBe(0);
    expect(sumEntries([entry(EU, 5, 2), entry(US, 4, 4)])).toBe(3);
  });

  it("an increment changes the own region's entry of a copy", () => {
    const first = increment(EMPTY_COUNTER, EU, 3, 0);
    const second = increment(first, US, 1, 0);
    expect(increment(second, EU, 0, 2)).toEqual([entry(EU, 3, 2), entry(US, 1)]);
    expect(first).toEqual([entry(EU, 3)]);
  });

  it('an increment takes over the counts of an earlier epoch', () => {
    const later = { ...EU, epoch: 2, nonce: 11 };
    expect(increment([entry(EU, 3, 1)], later, 1, 0)).toEqual([entry(later, 4, 1)]);
  });
});

describe('merging', () => {
  it('merging entries of one incarnation takes the larger of each number', () => {
    expect(mergeEntry([entry(EU, 5, 1)], entry(EU, 4, 2))).toEqual([entry(EU, 5, 2)]);
  });

  it('merging adds an entry that only the other side has', () => {
    expect(mergeEntry([entry(EU, 5)], entry(US, 4))).toEqual([entry(EU, 5), entry(US, 4)]);
  });

  it('merging keeps the entry of the higher epoch, even if its numbers are smaller', () => {
    const later = entry({ ...EU, epoch: 2, nonce: 11 }, 1);
    const earlier = entry(EU, 5);
    expect(mergeEntry([earlier], later)).toEqual([later]);
    expect(mergeEntry([later], earlier)).toEqual([later]);
  });

  it('merging ignores another incarnation of the same epoch', () => {
    const counter = [entry(EU, 5)];
    expect(mergeEntry(counter, entry({ ...EU, nonce: 11 }, 9))).toBe(counter);
    expect(compareIncarnations({ epoch: 1, nonce: 11 }, EU)).toBe('clash');
  });
});
