import { expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { Presence } from './presence.js';

const LIVE_MS = 250;

test('connections are counted each, and users once however many connections they have', () => {
  const presence = new Presence(new SimulatedClock());
  for (const actor of ['ada', 'ada', 'bob', null, null]) presence.enter('a', actor);
  expect([presence.countConnections('a'), presence.countUsers('a')]).toEqual([5, 4]);
  presence.leave('a', 'ada');
  expect([presence.countConnections('a'), presence.countUsers('a')]).toEqual([4, 4]);
  presence.leave('a', 'ada');
  presence.leave('a', null);
  expect([presence.countConnections('a'), presence.countUsers('a')]).toEqual([2, 2]);
});

test('a post without connections has no viewers', () => {
  const presence = new Presence(new SimulatedClock());
  presence.leave('a', 'ada');
  expect([presence.countConnections('a'), presence.countUsers('a')]).toEqual([0, 0]);
});

test('totals are sums over the posts', () => {
  const presence = new Presence(new SimulatedClock());
  for (const post of ['a', 'b']) for (const actor of ['ada', 'ada', null]) presence.enter(post, actor);
  expect(presence.sumTotals()).toEqual({ connections: 6, users: 4 });
  for (const post of ['a', 'b']) for (const actor of ['ada', 'ada', null]) presence.leave(post, actor);
  expect(presence.sumTotals()).toEqual({ connections: 0, users: 0 });
});

test('a change of viewers is published within 250 ms', async () => {
  const { clock, presence, announced } = world();
  presence.enter('a', null);
  await clock.advance(LIVE_MS);
  expect(announced).toEqual([{ atMs: LIVE_MS, posts: ['a'] }]);
});

test('presence is published once in 250 ms, with each post once, however many viewers come and go', async () => {
  const { clock, presence, announced } = world();
  for (let i = 0; i < 200; i++) {
    presence.enter(i % 2 === 0 ? 'a' : 'b', null);
    if (i % 5 === 0) presence.leave('a', null);
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
    if (!came) presence.enter('b', null);
    came = true;
  });
  presence.enter('a', null);
  await clock.advance(2 * LIVE_MS);
  expect(announced.map(({ posts }) => posts)).toEqual([['a'], ['b']]);
});

test('presence publishes nothing and runs no timer while no viewer comes or goes', async () => {
  const { clock, presence, announced } = world();
  presence.enter('a', null);
  await clock.advance(10 * LIVE_MS);
  expect([announced.length, clock.timers]).toEqual([1, 0]);
});

function world() {
  const clock = new SimulatedClock();
  const presence = new Presence(clock);
  const announced: { atMs: number; posts: readonly string[] }[] = [];
  presence.changes.subscribe((posts) => announced.push({ atMs: clock.nowMs(), posts }));
  return { clock, presence, announced };
}
