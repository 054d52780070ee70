import { expect, test } from '@jest/globals';
import type { MineEvent } from '../protocol/messages.js';
import { ActorNotifier, toActorRoom } from './actors.js';

test("a room has the 64 bits of its actor's key", () => {
  expect(toActorRoom({ hi: 0, lo: 42 })).toBe('actor:000000000000002a');
  expect(toActorRoom({ hi: 2 ** 32 - 1, lo: 2 ** 32 - 1 })).toBe('actor:ffffffffffffffff');
});

test('the room of the actor is told, save for the connection that did it', () => {
  const told: unknown[] = [];
  const actors = new ActorNotifier();
  actors.emit = (...all) => told.push(all);
  const liked: MineEvent = { post: 'a', metric: 'likes', on: true };
  actors.notify({ hi: 1, lo: 2 }, liked, 'socket');
  actors.notify({ hi: 1, lo: 2 }, liked, null);
  expect(told).toEqual(['socket', null].map((except) => ['actor:0000000100000002', liked, except]));
});
