import { describe, expect, it } from '@jest/globals';
import { explainNoDecrement, LIKES, Metrics, METRICS_MAX, VIEWS } from './metrics.js';

const REQUIRED = 'likes:toggle,views:tally';

describe('METRICS', () => {
  it('the index of a metric is its position in METRICS', () => {
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

  it('METRICS may have spaces around its commas', () => {
    const text = `${REQUIRED},shares:tally`;
    expect(Metrics.parse(' likes:toggle , views:tally,shares:tally ').toString()).toBe(text);
    expect(Metrics.parse(text).toString()).toBe(text);
  });

  it.each(['', 'views:tally,likes:toggle', 'likes:toggle', 'likes:tally,views:tally', 'likes,views'])(
    'METRICS of %j is rejected because of its beginning',
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
  ])('METRICS of %j is rejected with the reason', (text, message) => {
    expect(() => Metrics.parse(text)).toThrow(message);
  });

  it(`METRICS may name up to ${METRICS_MAX} metrics`, () => {
    const more = Array.from({ length: METRICS_MAX - 2 }, (_, i) => `m${i}:tally`).join(',');
    expect(Metrics.parse(`${REQUIRED},${more}`).list).toHaveLength(METRICS_MAX);
    expect(() => Metrics.parse(`${REQUIRED},${more},last:tally`)).toThrow(`at most ${METRICS_MAX} metrics`);
  });
});

it('a metric that cannot be counted down is explained by its name and kind', () => {
  const [likes, views] = Metrics.parse(REQUIRED).list;
  expect(explainNoDecrement(likes!)).toBeNull();
  expect(explainNoDecrement(views!)).toBe('views is a tally, which only grows');
});
