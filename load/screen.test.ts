import { beforeEach, describe, expect, it } from '@jest/globals';
import { Screen } from './screen.js';

describe('a screen', () => {
  let found: number[];
  let screen: Screen;

  beforeEach(() => {
    found = [];
    screen = new Screen((ms) => found.push(ms));
    screen.reset('e', 10);
  });

  it('shows an operation with the first frame at or above its version', () => {
    screen.acknowledged('e', 12, 100);
    screen.frame('e', 11, 110);
    expect(found).toEqual([]);
    screen.frame('e', 13, 150);
    screen.frame('e', 14, 200);
    expect(found).toEqual([50]);
  });

  it('shows an operation even if the frame arrives before the acknowledgement', () => {
    screen.frame('e', 11, 110);
    screen.frame('e', 13, 150);
    screen.frame('e', 14, 200);
    screen.acknowledged('e', 12, 100);
    expect(found).toEqual([50]);
  });

  it('reports no time for other epochs, for operations before a reconnect, and for old versions', () => {
    screen.acknowledged('other', 12, 100);
    screen.acknowledged('e', 10, 100);
    screen.acknowledged('e', 12, 100);
    screen.reset('e', 12);
    for (let version = 13; version < 100; version++) screen.frame('e', version, 200);
    screen.acknowledged('e', 14, 100);
    expect(found).toEqual([]);
  });

  it('starts again with a new epoch', () => {
    screen.acknowledged('e', 12, 100);
    screen.frame('new', 2, 110);
    screen.acknowledged('new', 3, 120);
    screen.frame('new', 3, 130);
    expect(found).toEqual([10]);
  });
});
