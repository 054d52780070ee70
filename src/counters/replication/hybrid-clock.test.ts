import { describe, expect, it } from '@jest/globals';
import { nextStamp, toRegionNumber, readRegionNumber, firstStampAt, toWallMs } from './hybrid-clock.js';

const NOW_MS = Date.UTC(2026, 0, 1);
const EU = toRegionNumber('eu');

describe('a stamp', () => {
  it('a stamp contains its wall time and its region', () => {
    const stamp = nextStamp(0, NOW_MS, EU);
    expect([toWallMs(stamp), readRegionNumber(stamp)]).toEqual([NOW_MS, EU]);
    expect(stamp).toBeGreaterThanOrEqual(firstStampAt(NOW_MS));
  });

  it('a stamp is later than all that were given or received, whatever the wall clock says', () => {
    const ahead = nextStamp(0, NOW_MS + 60_000, toRegionNumber('us'));
    const stamp = nextStamp(ahead, NOW_MS, EU);
    expect(stamp).toBeGreaterThan(ahead);
    expect(nextStamp(stamp, NOW_MS, EU)).toBeGreaterThan(stamp);
  });

  it('stamps are exact integers until 2058', () => {
    expect(Number.isSafeInteger(nextStamp(0, Date.UTC(2058, 0, 1), 255))).toBe(true);
  });
});
