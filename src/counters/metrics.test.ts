import { describe, expect, it } from '@jest/globals';
import { explainMisfit, explainNoDecrement, LIKES, Metrics, METRICS_MAX, OPTIONS_MAX, VIEWS } from './metrics.js';

const REQUIRED = 'likes:toggle,views:tally';
const OPTIONS = Array.from({ length: OPTIONS_MAX }, (_, i) => `o${i}:choice@vote`).join(',');

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

  it('a rule may change while what is stored stays', () => {
    const ruled = 'likes:choice@mood,views:unique@30m,readers:unique,dislikes:choice@mood,shares:tally';
    expect(Metrics.parse(ruled).toString()).toBe(
      'likes:toggle,views:tally,readers:toggle,dislikes:toggle,shares:tally',
    );
    expect(Metrics.parse('likes:toggle,views:unique').toString()).toBe('likes:toggle,views:toggle');
  });

  it('a choice knows the other options of its group', () => {
    const metrics = Metrics.parse(
      'likes:choice@mood,views:tally,a:choice@vote,dislikes:choice@mood,b:choice@vote,saves:toggle',
    );
    expect(metrics.otherOptions).toEqual([[3], [], [4], [0], [2], []]);
    expect(Metrics.parse(`${REQUIRED},${OPTIONS}`).otherOptions[2]).toHaveLength(OPTIONS_MAX - 1);
  });

  it('the longest window is known in seconds', () => {
    expect(Metrics.parse(REQUIRED).longestWindowS).toBe(0);
    expect(Metrics.parse('likes:toggle,views:unique@1m').longestWindowS).toBe(60);
    expect(Metrics.parse('likes:toggle,views:unique@90m,reads:unique@24h').longestWindowS).toBe(86_400);
  });

  it.each([
    '',
    'views:tally,likes:toggle',
    'likes:toggle',
    'likes:tally,views:tally',
    'likes,views',
    'likes:toggle,views:toggle',
    'likes:unique,views:tally',
  ])('METRICS of %j is rejected because of its beginning', (text) => {
    expect(() => Metrics.parse(text)).toThrow('must begin with likes:toggle,views:tally');
  });

  it.each([
    [`${REQUIRED},`, '"": a name is a-z'],
    [`${REQUIRED},Shares:tally`, '"Shares:tally": a name is a-z'],
    [`${REQUIRED},${'a'.repeat(33)}:tally`, 'a name is a-z, then up to 31'],
    [`${REQUIRED},__proto__:tally`, '"__proto__:tally": a name is a-z'],
    [`${REQUIRED},shares:gauge`, '"shares:gauge": a kind is toggle, tally, unique, unique@WINDOW'],
    [`${REQUIRED},shares`, '"shares": a kind is toggle, tally, unique, unique@WINDOW'],
    ...['59s', '0m', '1441m', '25h', '', '30', 'm', '01h', '1d'].map((window) => [
      `likes:toggle,views:unique@${window}`,
      `"views:unique@${window}": a window is from 1m to 24h`,
    ]),
    [`${REQUIRED},yes:choice,no:choice`, '"yes:choice": a choice names its group'],
    [`${REQUIRED},yes:choice@,no:choice@`, '"yes:choice@": a choice names its group'],
    [`${REQUIRED},yes:choice@vote`, '"yes" is the only option of the group vote: add another'],
    [`${REQUIRED},${OPTIONS},o9:choice@vote`, 'at most 8 options of the group vote'],
    [`${REQUIRED},likes:toggle`, 'names a metric twice'],
    [`${REQUIRED},shares:tally,shares:toggle`, 'names a metric twice'],
    [`${REQUIRED},mine:toggle`, '"mine" is the name of another field'],
    ...['v', 'choices', 'uniques', 'updated_at'].map((name) => [
      `${REQUIRED},${name}:tally`,
      `"${name}" is the name of another field`,
    ]),
    [`${REQUIRED},readers:unique:30m`, '"readers:unique:30m": a metric is name:kind, with one colon'],
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

it.each([
  ['likes:toggle,views:tally', 'likes:toggle,views:tally,saves:toggle', null],
  [
    'likes:toggle,views:tally,saves:toggle',
    'likes:toggle,views:tally',
    /^METRICS must begin with likes,views,saves, in/,
  ],
  [
    'likes:toggle,views:tally,a:tally',
    'likes:toggle,views:tally,b:tally',
    /^METRICS must begin with likes,views,a, in/,
  ],
  [
    'likes:toggle,views:tally',
    'likes:toggle,views:toggle',
    /^METRICS: views of this data may be tally or unique@WINDOW;/,
  ],
  [
    'likes:toggle,views:tally,a:toggle',
    'likes:toggle,views:tally,a:tally',
    /a of this data may be toggle, unique or choice@/,
  ],
])('data with %s and METRICS of %s: %s', (stored, own, reason) => {
  const found = explainMisfit(stored, own);
  if (reason === null) expect(found).toBeNull();
  else expect(found).toMatch(reason);
});
