import { expect, it } from '@jest/globals';
import { readSettings } from './settings.js';

const METRICS = 'likes:toggle,views:tally,readers:unique,up:choice@vote,down:choice@vote';
const JWT_SECRET = 'a secret of at least thirty-two bytes';

it('guests may add to tallies and uniques that GUEST_METRICS names', () => {
  const { guestMetrics } = readSettings({ METRICS, JWT_SECRET, GUEST_METRICS: 'views, readers' });
  expect(guestMetrics.map(({ name }) => name)).toEqual(['views', 'readers']);
  expect(readSettings({ METRICS }).guestMetrics).toEqual([]);
});

it.each([
  ['reads', 'names reads, which METRICS does not have; name metrics that are added to: views, readers'],
  ['views,likes', 'names likes, a toggle, which needs a token; name metrics that are added to: views, readers'],
  ['up', 'names up, a choice@vote, which needs a token; name metrics that are added to: views, readers'],
  ['live', 'names live, which METRICS does not have; name metrics that are added to: views, readers'],
  ['Views', 'must be names of metrics, such as views'],
])('GUEST_METRICS=%s is rejected: it %s', (GUEST_METRICS, message) => {
  expect(() => readSettings({ METRICS, JWT_SECRET, GUEST_METRICS })).toThrow(`GUEST_METRICS ${message}`);
});

it('GUEST_METRICS without tokens is rejected, because everyone is a guest then', () => {
  expect(() => readSettings({ METRICS, GUEST_METRICS: 'views' })).toThrow(
    'GUEST_METRICS needs JWT_SECRET or JWT_JWKS_URL: without tokens everyone may change every metric',
  );
});
