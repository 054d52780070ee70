import { describe, expect, it } from '@jest/globals';
import { renderBadge } from './badge-svg.js';
import { measureText } from './text-width.js';

function render(label: string, count = 0, color = '007ec6'): string {
  return renderBadge({ label, count, color });
}

function titleOf(svg: string): string {
  return /<title>(.*)<\/title>/.exec(svg)![1]!;
}

/** The names of the elements and attributes, without their values and texts. */
function markupOf(svg: string): string {
  return svg.replace(/"[^"]*"/g, '""').replace(/>[^<]*</g, '><');
}

describe('a badge', () => {
  it.each([
    [0, '0', '0'],
    [999, '999', '999'],
    [1_234, '1.2K', '1,234'],
    [3_400_000, '3.4M', '3,400,000'],
    [Number.MAX_SAFE_INTEGER, '9007T', '9,007,199,254,740,991'],
  ])('%d is shown short, and named exactly', (count, short, exact) => {
    const svg = render('views', count);
    expect(titleOf(svg)).toBe(`views: ${exact}`);
    expect(svg).toContain(` aria-label="views: ${exact}"`);
    expect(svg).toContain(`>${short}</text>`);
  });

  it.each([
    ['<script>alert(1)</script>', '&lt;script&gt;alert(1)&lt;/script&gt;'],
    [`" onload="alert('1')`, '&quot; onload=&quot;alert(&#39;1&#39;)'],
    ['&lt;]]>', '&amp;lt;]]&gt;'],
    ['צפיות\u202e 👨‍👩‍👧', 'צפיות\u202e 👨‍👩‍👧'],
  ])('the label %s stays text', (label, escaped) => {
    const svg = render(label);
    expect(titleOf(svg)).toBe(`${escaped}: 0`);
    expect(markupOf(svg)).toBe(markupOf(render('views')));
  });

  it('the count is dark on a light colour', () => {
    for (const color of ['fff', 'ffff00']) expect(render('a', 7, color)).toMatch(/fill="#333"[^>]*>7</);
    for (const color of ['000', '4c1']) expect(render('a', 7, color)).not.toContain('#333');
  });

  it('the box is as wide as the text needs', () => {
    expect(measureText('iiii')).toBeLessThan(measureText('nnnn'));
    expect(measureText('é')).toBe(measureText('e'));
    expect(measureText('👨‍👩‍👧')).toBe(measureText('閲'));
    expect(measureText('views')).toBe(31);
  });
});
