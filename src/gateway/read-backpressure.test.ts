import { expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { ReadBackpressure } from './read-backpressure.js';

const SHARE = 10;
/** Longer than any pause. */
const LONG_MS = 12_000;

function world(size: number) {
  const clock = new SimulatedClock();
  const crowd = { isCongested: true, fairShare: SHARE };
  const gate = new ReadBackpressure(crowd, clock);
  const log: string[] = [];
  const connections = Array.from({ length: size }, (_, i) => ({
    unacknowledged: SHARE,
    pausable: true,
    pause() {
      if (this.pausable) log.push(`-${i}`);
      return this.pausable;
    },
    stays: 0,
    keepAliveWhilePaused() {
      this.stays += 1;
    },
    resume() {
      log.push(`+${i}`);
    },
  }));
  return { clock, crowd, gate, log, connections };
}

test('the gateway pauses a connection at its fair share, once, and reads the others', () => {
  const { gate, log, connections } = world(3);
  connections[1]!.unacknowledged = SHARE - 1;
  for (const connection of [...connections, ...connections]) gate.pause(connection);
  expect([log, gate.paused]).toEqual([['-0', '-2'], 2]);
});

test('a connection that cannot be paused is not counted as paused', () => {
  const { gate, connections } = world(1);
  connections[0]!.pausable = false;
  gate.pause(connections[0]!);
  expect(gate.paused).toBe(0);
});

test('paused connections are resumed in order, a few in a turn, while ingest is not congested', async () => {
  const { clock, crowd, gate, log, connections } = world(10);
  for (const connection of connections) gate.pause(connection);
  log.length = 0;
  await clock.advance(1_000);
  expect(log).toEqual([]);
  crowd.isCongested = false;
  clock.step();
  expect(log).toEqual(['+0', '+1', '+2', '+3']);
  crowd.isCongested = true;
  await clock.advance(1_000);
  expect([log.length, gate.paused]).toEqual([4, 6]);
  crowd.isCongested = false;
  await clock.advance(1_000);
  expect(log).toEqual(connections.map((_, i) => `+${i}`));
  expect([gate.paused, clock.timers]).toEqual([0, 0]);
});

test('paused connections are logged repeatedly as long as there are any', async () => {
  const { clock, crowd, gate, connections } = world(2);
  for (const connection of connections) gate.pause(connection);
  const often = [];
  for (let seconds = 0; seconds < 8; seconds += 4) {
    often.push(connections.map(({ stays }) => stays));
    await clock.advance(4_000);
  }
  expect(often[1]![0]).toBeGreaterThan(often[0]![0]!);
  expect(often[0]).toEqual([1, 1]);
  crowd.isCongested = false;
  await clock.advance(1_000);
  const last = connections.map(({ stays }) => stays);
  await clock.advance(LONG_MS);
  expect(connections.map(({ stays }) => stays)).toEqual(last);
});

test('no connection stays paused for long, whatever waits', async () => {
  const { clock, gate, log, connections } = world(10);
  for (const connection of connections) gate.pause(connection);
  await clock.advance(LONG_MS);
  expect([gate.paused, clock.timers]).toEqual([0, 0]);
  expect(log.filter((entry) => entry.startsWith('+'))).toHaveLength(connections.length);
});

test('a connection that is closed is read to its end and forgotten', async () => {
  const { clock, crowd, gate, log, connections } = world(2);
  for (const connection of connections) gate.pause(connection);
  gate.remove(connections[0]!);
  gate.remove(connections[0]!);
  expect([log, gate.paused]).toEqual([['-0', '-1', '+0'], 1]);
  crowd.isCongested = false;
  await clock.advance(1_000);
  expect(log).toEqual(['-0', '-1', '+0', '+1']);
});
