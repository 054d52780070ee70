import { expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { Presence } from './presence.js';

const LIVE_MS = 250;

test('a post that nobody has watched has no viewers', () => {
  const presence = new Presence(new SimulatedClock(), true);
  presence.leave('a', 'ada', true);
  expect(presence.countViewers('a')).toBe(0);
});

test('totals are sums over the posts', () => {
  const presence = new Presence(new SimulatedClock(), true);
  for (const post of ['a', 'b']) for (const actor of ['ada', 'ada', null]) presence.enter(post, actor, true);
  expect(presence.sumTotals()).toEqual({ connections: 6, users: 4 });
  for (const post of ['a', 'b']) for (const actor of ['ada', 'ada', null]) presence.leave(post, actor, true);
  expect(presence.sumTotals()).toEqual({ connections: 0, users: 0 });
});

test('a change of viewers is published within 250 ms', async () => {
  const { clock, presence, announced } = world();
  presence.enter('a', null, true);
  await clock.advance(LIVE_MS);
  expect(announced).toEqual([{ atMs: LIVE_MS, posts: ['a'] }]);
});

test('presence is published once in 250 ms, with each post once, however many viewers come and go', async () => {
  const { clock, presence, announced } = world();
  for (let i = 0; i < 200; i++) {
    presence.enter(i % 2 === 0 ? 'a' : 'b', null, true);
    if (i % 5 === 0) presence.leave('a', null, true);
    await clock.advance(10);
  }
  await clock.advance(2 * LIVE_MS);
  expect(announced.every(({ posts }) => posts.toSorted().join() === 'a,b')).toBe(true);
  const gaps = announced.slice(1).map(({ atMs }, i) => atMs - announced[i]!.atMs);
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(LIVE_MS);
  expect(announced).toHaveLength(8);
});

test('a change that a publish causes is published later', async () => {
  const { clock, presence, announced } = world();
  let came = false;
  presence.changes.subscribe(() => {
    if (!came) presence.enter('b', null, true);
    came = true;
  });
  presence.enter('a', null, true);
  await clock.advance(2 * LIVE_MS);
  expect(announced.map(({ posts }) => posts)).toEqual([['a'], ['b']]);
});

test('presence publishes nothing and runs no timer while no viewer comes or goes', async () => {
  const { clock, presence, announced } = world();
  presence.enter('a', null, true);
  await clock.advance(10 * LIVE_MS);
  expect([announced.length, clock.timers]).toEqual([1, 0]);
});

test('a post is forgotten when its last viewer has left and that is published', async () => {
  const { clock, presence } = world();
  presence.enter('a', 'ada', true);
  await clock.advance(LIVE_MS);
  const left: unknown[] = [];
  presence.changes.subscribe((changes) => left.push(...changes.get('a')!.people));
  presence.leave('a', 'ada', true);
  await clock.advance(LIVE_MS);
  presence.enter('a', 'bob', true);
  await clock.advance(LIVE_MS);
  expect([left, presence.countViewers('a')]).toEqual([['ada', 'bob'], 1]);
});

function world() {
  const clock = new SimulatedClock();
  const presence = new Presence(clock, true);
  const announced: { atMs: number; posts: readonly string[] }[] = [];
  presence.changes.subscribe((changes) => announced.push({ atMs: clock.nowMs(), posts: [...changes.keys()] }));
  return { clock, presence, announced };
}
