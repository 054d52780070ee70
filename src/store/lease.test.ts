import { expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { Lease } from './lease.js';

/** A store whose answers a test changes. */
function openLease(): {
  clock: SimulatedClock;
  lease: Lease;
  store: { answer: () => Promise<boolean>; requests: number };
} {
  const clock = new SimulatedClock();
  const store = { answer: () => Promise.resolve(true), requests: 0 };
  const acquireLease = (): Promise<boolean> => {
    store.requests += 1;
    return store.answer();
  };
  return { clock, lease: new Lease({ acquireLease }, 'sinks', clock), store };
}

const hang = (): Promise<boolean> => new Promise(() => undefined);

test('a lease is held in one term while it is renewed each second', async () => {
  const { clock, lease, store } = openLease();
  expect(lease.term).toBeNull();
  lease.start();
  await clock.advance(0);
  const { term } = lease;
  expect(term).not.toBeNull();
  await clock.advance(10_500);
  expect(lease.term).toBe(term);
  expect(store.requests).toBe(11);
  lease.close();
  await clock.advance(10_000);
  expect(store.requests).toBe(11);
});

test('a lease that another gateway has is not held, and is got in a new term', async () => {
  const { clock, lease, store } = openLease();
  lease.start();
  await clock.advance(0);
  const { term } = lease;
  store.answer = () => Promise.resolve(false);
  await clock.advance(1_000);
  expect([lease.term, lease.isHeldElsewhere]).toEqual([null, true]);
  store.answer = () => Promise.resolve(true);
  await clock.advance(1_000);
  expect(lease.term).toBeGreaterThan(term!);
  expect(lease.isHeldElsewhere).toBe(false);
  lease.close();
});

test('a lease outlasts one renewal that fails, and ends with the second', async () => {
  const { clock, lease, store } = openLease();
  lease.start();
  await clock.advance(500);
  store.answer = () => Promise.reject(new Error('down'));
  await clock.advance(1_000);
  expect(lease.term).not.toBeNull();
  await clock.advance(1_000);
  expect([lease.term, lease.isHeldElsewhere]).toEqual([null, false]);
  lease.close();
});

test('a lease ends in time although its renewal is not answered', async () => {
  const { clock, lease, store } = openLease();
  lease.start();
  await clock.advance(500);
  store.answer = hang;
  await clock.advance(1_400);
  expect(lease.term).not.toBeNull();
  await clock.advance(200);
  expect(lease.term).toBeNull();
  lease.close();
});

test('a late answer does not prolong a lease beyond what the store gives', async () => {
  const { clock, lease, store } = openLease();
  store.answer = () => new Promise((resolve) => void clock.after(1_500, () => resolve(true)));
  lease.start();
  await clock.advance(1_600);
  expect(lease.term).not.toBeNull();
  store.answer = hang;
  await clock.advance(500);
  expect(lease.term).toBeNull();
  lease.close();
});
