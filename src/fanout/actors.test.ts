import { expect, test } from '@jest/globals';
import type { MineEvent } from '../protocol/messages.js';
import { Actors } from './actors.js';

const LIKED: MineEvent = { post: 'a', metric: 'likes', on: true };

class Connection {
  readonly told: MineEvent[] = [];

  mine(event: MineEvent): void {
    this.told.push(event);
  }
}

test('the other connections of an actor are told, the one that did it is not', () => {
  const actors = new Actors();
  const [here, there, stranger] = [new Connection(), new Connection(), new Connection()];
  actors.join('ada', here);
  actors.join('ada', there);
  actors.join('bob', stranger);
  actors.toggled('ada', LIKED, here);
  expect([here.told, there.told, stranger.told]).toEqual([[], [LIKED], []]);
});

test('all are told of what was done over none of them', () => {
  const actors = new Actors();
  const connections = [new Connection(), new Connection()];
  for (const connection of connections) actors.join('ada', connection);
  actors.toggled('ada', LIKED, null);
  expect(connections.map(({ told }) => told)).toEqual([[LIKED], [LIKED]]);
});

test('who has left is told nothing, and who acts without a name tells nobody', () => {
  const actors = new Actors();
  const [gone, here] = [new Connection(), new Connection()];
  actors.join('ada', gone);
  actors.join('ada', here);
  actors.leave('ada', gone);
  actors.leave('nobody', here);
  actors.toggled('ada', LIKED, null);
  actors.toggled(null, LIKED, null);
  actors.toggled('carl', LIKED, null);
  expect([gone.told, here.told]).toEqual([[], [LIKED]]);
});
