import { describe, expect, it } from '@jest/globals';
import { parseArguments } from './arguments.js';
import type { Summary } from './figures.js';
import { type Evidence, judge } from './verdict.js';

const NO_SAMPLES = { samples: 0, p50: null, p90: null, p99: null, p999: null, max: null, curve: [] };
const SUMMARY: Summary = {
  steadySeconds: 30,
  offeredPerS: 7_000,
  acknowledgedPerS: 6_990,
  framesPerS: 50_000,
  bytesPerS: 6e6,
  acknowledged: 220_000,
  shed: 0,
  duplicates: 0,
  frames: 1_500_000,
  bytes: 180e6,
  errors: {},
  toAnswer: NO_SAMPLES,
  toScreen: NO_SAMPLES,
  lagMaxMs: 3,
};
const SHOWN = { stale: 0, staleExamples: [], read: 100, adrift: 0, backwards: 0 };
const EVIDENCE: Evidence = {
  load: parseArguments(['--viewers', '5000'])!,
  summary: SUMMARY,
  mistakes: [],
  shown: SHOWN,
  unanswered: 0,
  unsent: 0,
};
const lost = { post: 'p-7', metric: 'views', expected: { min: 10, max: 12 }, counted: 8 } as const;
const doubled = { post: 'p-8', metric: 'likes', expected: { min: 4, max: 4 }, counted: 5 } as const;

describe('the verdict', () => {
  it('is exact if all counts and all viewers are', () => {
    const { isExact, lines } = judge(EVIDENCE);
    expect(isExact).toBe(true);
    expect(lines).toEqual([
      'EXACT: 220,000 operations acknowledged, 0 lost, 0 doubled',
      expect.stringContaining('5,000 of 5,000 show the final totals, stale: 0'),
    ]);
  });

  it('names the posts whose counts are wrong', () => {
    const verdict = judge({ ...EVIDENCE, mistakes: [lost, doubled] });
    expect(verdict).toMatchObject({ isExact: false, lost: 2, doubled: 1 });
    expect(verdict.lines.slice(0, 3)).toEqual([
      'NOT EXACT: 220,000 operations acknowledged, 2 lost, 1 doubled',
      '  p-7: views changed by 8 instead of 10 to 12',
      '  p-8: likes changed by 5 instead of 4',
    ]);
  });

  it.each([{ stale: 1 }, { adrift: 1 }, { backwards: 1 }])('is not exact if viewers are wrong: %j', (wrong) => {
    const { isExact, lines } = judge({ ...EVIDENCE, shown: { ...SHOWN, ...wrong } });
    expect(isExact).toBe(false);
    expect(lines[1]).toContain('NOT EXACT');
  });

  it('is unknown if the totals cannot be read', () => {
    const { isExact, lines } = judge({ ...EVIDENCE, mistakes: null, shown: null });
    expect(isExact).toBe(false);
    expect(lines[0]).toMatch(/^UNKNOWN/);
  });

  it('reports operations without an acknowledgement', () => {
    expect(judge({ ...EVIDENCE, unanswered: 3 }).lines[0]).toContain(
      '3 not acknowledged, which may or may not be counted',
    );
  });

  it.each([
    [{ acknowledgedPerS: 5_210 }, 'not kept up: offered 7,000/s, acknowledged 5,210/s'],
    [{ shed: 12 }, '12 operations were shed'],
    [{ lagMaxMs: 80 }, 'event-loop delay of this program reached 80 ms'],
  ])('limits the trust in the figures for %j', (seen, line) => {
    expect(judge({ ...EVIDENCE, summary: { ...SUMMARY, ...seen } }).lines.at(-1)).toContain(line);
  });
});
