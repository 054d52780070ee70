import { describe, expect, it } from '@jest/globals';
import { LIKES, Metrics, METRICS_MAX, VIEWS } from './metrics.js';

const REQUIRED = 'likes:toggle,views:tally';

describe('METRICS', () => {
  it('gives each metric the index of its place', () => {
    const metrics = Metrics.parse(`${REQUIRED},shares:tally,saves:toggle`);
    expect(metrics.list).toEqual([
      { name: 'likes', kind: expect.objectContaining({ name: 'toggle', hasMembers: true }), index: LIKES },
      { name: 'views', kind: expect.objectContaining({ name: 'tally', hasMembers: false }), index: VIEWS },
      { name: 'shares', kind: metrics.list[VIEWS]!.kind, index: 2 },
      { name: 'saves', kind: metrics.list[LIKES]!.kind, index: 3 },
    ]);
    expect(metrics.byName('saves')).toBe(metrics.list[3]);
    expect(metrics.byName('constructor')).toBeUndefined();
  });

  it('may have spaces around its commas', () => {
    const text = `${REQUIRED},shares:tally`;
    expect(Metrics.parse(' likes:toggle , views:tally,shares:tally ').toString()).toBe(text);
    expect(Metrics.parse(text).toString()).toBe(text);
  });

  it.each(['', 'views:tally,likes:toggle', 'likes:toggle', 'likes:tally,views:tally', 'likes,views'])(
    '%j is told how to begin',
    (text) => {
      expect(() => Metrics.parse(text)).toThrow('must begin with likes:toggle,views:tally');
    },
  );

  it.each([
    [`${REQUIRED},`, '"": a name is a-z'],
    [`${REQUIRED},Shares:tally`, '"Shares:tally": a name is a-z'],
    [`${REQUIRED},${'a'.repeat(33)}:tally`, 'a name is a-z, then up to 31'],
    [`${REQUIRED},__proto__:tally`, '"__proto__:tally": a name is a-z'],
    [`${REQUIRED},shares:gauge`, '"shares:gauge": a kind is toggle or tally'],
    [`${REQUIRED},shares`, '"shares": a kind is toggle or tally'],
    [`${REQUIRED},likes:toggle`, 'names a metric twice'],
    [`${REQUIRED},shares:tally,shares:toggle`, 'names a metric twice'],
    [`${REQUIRED},mine:toggle`, '"mine" is the name of another field'],
    [`${REQUIRED},v:tally`, '"v" is the name of another field'],
  ])('%j is told what is wrong', (text, message) => {
    expect(() => Metrics.parse(text)).toThrow(message);
  });

  it(`names up to ${METRICS_MAX}`, () => {
    const more = Array.from({ length: METRICS_MAX - 2 }, (_, i) => `m${i}:tally`).join(',');
    expect(Metrics.parse(`${REQUIRED},${more}`).list).toHaveLength(METRICS_MAX);
    expect(() => Metrics.parse(`${REQUIRED},${more},last:tally`)).toThrow(`at most ${METRICS_MAX} metrics`);
  });
});
