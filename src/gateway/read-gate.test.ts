import { expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { ReadGate } from './read-gate.js';

const FEW = 4_999;
const MANY = 10_000;

function world(size: number) {
  const clock = new SimulatedClock();
  const ingest = { pending: 0 };
  const gate = new ReadGate(ingest, clock);
  const log: string[] = [];
  const connections = Array.from({ length: size }, (_, i) => ({
    pause: () => void log.push(`-${i}`),
    resume: () => void log.push(`+${i}`),
  }));
  return { clock, ingest, gate, log, connections };
}

test('everybody is read while operations are committed as fast as they come', () => {
  const { ingest, gate, log, connections } = world(3);
  ingest.pending = MANY - 1;
  for (const connection of connections) gate.acted(connection);
  expect(log).toEqual([]);
});

test('all who act are paused, and who only watches is not', () => {
  const { ingest, gate, log, connections } = world(4);
  for (const connection of connections.slice(0, 2)) gate.acted(connection);
  ingest.pending = MANY;
  gate.acted(connections[2]!);
  expect([log, gate.paused]).toEqual([['-0', '-1', '-2'], 3]);
});

test('they go on a few at a time, in the order they were paused, and only while there is room', async () => {
  const { clock, ingest, gate, log, connections } = world(10);
  ingest.pending = MANY;
  for (const connection of connections) gate.acted(connection);
  log.length = 0;
  await clock.advance(1_000);
  expect(log).toEqual([]);
  ingest.pending = FEW;
  await clock.advance(2);
  expect(log).toEqual(['+0', '+1', '+2', '+3']);
  ingest.pending = MANY - 1;
  await clock.advance(1_000);
  expect(log).toHaveLength(4);
  ingest.pending = 0;
  await clock.advance(1_000);
  expect(log).toEqual(connections.map((_, i) => `+${i}`));
  expect([gate.paused, clock.timers]).toEqual([0, 0]);
});

test('who left is not kept', () => {
  const { ingest, gate, log, connections } = world(2);
  for (const connection of connections) gate.acted(connection);
  gate.left(connections[0]!);
  ingest.pending = MANY;
  gate.acted(connections[1]!);
  expect(log).toEqual(['-1']);
});
