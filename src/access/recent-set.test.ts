import { expect, test } from '@jest/globals';
import { RecentSet } from './recent-set.js';

test('a set of recent values has at least the requested number of last added values', () => {
  const set = new RecentSet<number>(100);
  for (let i = 0; i < 1_000; i++) set.add(i);
  const had = Array.from({ length: 1_000 }, (_, i) => i).filter((i) => set.has(i));
  expect(had).toContain(999);
  expect(had).toContain(900);
  expect(had.length).toBeLessThanOrEqual(200);
});

test('a value that is looked up repeatedly stays, whatever is added', () => {
  const set = new RecentSet<number>(100);
  set.add(-1);
  for (let i = 0; i < 1_000; i++) {
    set.add(i);
    expect(set.has(-1)).toBe(true);
  }
});
