import { describe, expect, it, test } from '@jest/globals';
import { linearTicks, renderLineChart, logTicks } from './plot.js';

test.each([
  [0, [0, 1]],
  [0.8, [0, 0.2, 0.4, 0.6, 0.8]],
  [7, [0, 2, 4, 6, 8]],
  [1_200, [0, 500, 1_000, 1_500]],
])('the ticks up to %d are round numbers', (max, ticks) => {
  expect(linearTicks(max)).toEqual(ticks);
});

test('logarithmic ticks are powers of ten around the values', () => {
  expect(logTicks(3, 420)).toEqual([1, 10, 100, 1_000]);
  expect(logTicks(0.02, 0.03)).toEqual([0.01, 0.1]);
  expect(logTicks(10, 10)).toEqual([10, 100]);
});

describe('a line chart', () => {
  const chart = {
    title: 'a < b',
    unit: 'ms',
    xTicks: [
      { at: 0, label: 'first' },
      { at: 9, label: 'beyond' },
    ],
    xLabel: 'seconds',
  };

  it('interrupts a line at missing values', () => {
    const points = [
      [0, 1],
      [1, 2],
      [2, null],
      [3, 4],
    ] as const;
    const [, line] = /class="s0" d="(M[^h"]+)"/.exec(renderLineChart({ ...chart, series: [{ name: 'x', points }] }))!;
    expect(line!.replace(/[^ML]/g, '')).toBe('MLM');
  });

  it('escapes its texts and leaves out ticks beyond its points', () => {
    const svg = renderLineChart({ ...chart, series: [{ name: '"x"', points: [[0, 1]] }] });
    expect(svg).toContain('a &lt; b');
    expect(svg).toContain('&quot;x&quot;');
    expect(svg).toContain('first');
    expect(svg).not.toContain('beyond');
  });

  it('is valid without points', () => {
    for (const isLog of [true, false]) {
      const svg = renderLineChart({ ...chart, isLog, series: [{ name: 'x', points: [] }] });
      expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    }
  });
});
