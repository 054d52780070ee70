import { expect, test } from '@jest/globals';
import { REPORTED_PEOPLE_MAX, PostPresence } from './post-presence.js';

function people(count: number, first = 0): string[] {
  return Array.from({ length: count }, (_, i) => `person-${first + i}`);
}

/** Everybody who is named, as the changes since the start say. */
function followNames(presence: PostPresence): { readonly named: ReadonlySet<string>; readonly take: () => number } {
  const named = new Set<string>();
  const take = (): number => {
    const changed = [...presence.takeChange().people];
    for (const person of changed) {
      if (presence.hasPerson(person)) named.add(person);
      else named.delete(person);
    }
    return changed.length;
  };
  return { named, take };
}

test('a person counts once with any number of connections, and each connection without an actor counts', () => {
  const presence = new PostPresence(true);
  for (const person of ['ada', 'ada', 'bob', null, null]) presence.enter(person, true);
  expect([presence.live, presence.others, presence.connections, presence.users]).toEqual([4, 2, 5, 4]);
  presence.leave('ada', true);
  expect([presence.live, presence.hasPerson('ada')]).toEqual([4, true]);
  presence.leave('ada', true);
  presence.leave(null, true);
  expect([presence.live, presence.hasPerson('ada'), presence.connections, presence.users]).toEqual([2, false, 2, 2]);
});

test('a connection that is not present is a connection of its user, and does not count', () => {
  const presence = new PostPresence(true);
  presence.enter('ada', false);
  presence.enter(null, false);
  expect([presence.live, presence.connections, presence.users]).toEqual([0, 2, 2]);
  presence.enter('ada', true);
  expect([presence.live, presence.users, [...presence.people()]]).toEqual([1, 2, ['ada']]);
  presence.leave('ada', true);
  expect([presence.live, presence.users, [...presence.people()]]).toEqual([0, 2, []]);
  presence.leave('ada', false);
  presence.leave(null, false);
  expect([presence.connections, presence.users]).toEqual([0, 0]);
});

test('each connection counts, and nobody is named, where connections are counted', () => {
  const presence = new PostPresence(false);
  for (const person of ['ada', 'ada', null]) presence.enter(person, true);
  presence.enter('ada', false);
  expect([presence.live, presence.others, presence.users, presence.hasPerson('ada')]).toEqual([3, 3, 2, false]);
  expect([...presence.people(), ...presence.takeChange().people]).toEqual([]);
  presence.leave('ada', true);
  expect(presence.others).toBe(2);
});

test('people beyond the first thousand count by their number until others leave', () => {
  const presence = new PostPresence(true);
  const { named, take } = followNames(presence);
  for (const person of people(REPORTED_PEOPLE_MAX + 300)) presence.enter(person, true);
  take();
  expect([named.size, presence.others, presence.live]).toEqual([REPORTED_PEOPLE_MAX, 300, REPORTED_PEOPLE_MAX + 300]);
  // Named and other people leave.
  for (const person of people(200)) presence.leave(person, true);
  for (const person of people(50, REPORTED_PEOPLE_MAX)) presence.leave(person, true);
  expect(take()).toBe(400);
  expect([named.size, presence.others, presence.live]).toEqual([REPORTED_PEOPLE_MAX, 50, REPORTED_PEOPLE_MAX + 50]);
  for (const person of people(100, 500)) presence.leave(person, true);
  take();
  expect([named.size, presence.others, presence.live]).toEqual([REPORTED_PEOPLE_MAX - 50, 0, REPORTED_PEOPLE_MAX - 50]);
  expect(new Set(presence.people())).toEqual(named);
});

test('a change names only people who came or left, however many there are', () => {
  const presence = new PostPresence(true);
  const { take } = followNames(presence);
  for (const person of people(500)) presence.enter(person, true);
  expect(take()).toBe(500);
  presence.enter('person-1', true);
  presence.enter(null, true);
  expect(take()).toBe(0);
  presence.leave('person-2', true);
  expect(take()).toBe(1);
});
