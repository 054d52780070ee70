import { expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { VisitorSecrets, type VisitorSecretStore } from './visitor-secrets.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A store in memory that gateways share, and that a test may take down. */
class SharedStore implements VisitorSecretStore {
  readonly kept = new Map<string, { readonly secret: Buffer; readonly forgetAtMs: number }>();
  isDown = false;

  claim(day: string, secret: Buffer, forgetAtMs: number): Promise<Buffer> {
    if (this.isDown) return Promise.reject(new Error('down'));
    if (!this.kept.has(day)) this.kept.set(day, { secret, forgetAtMs });
    return Promise.resolve(this.kept.get(day)!.secret);
  }
}

/** Opens the secrets of one gateway at midnight. Its random bytes are all `byte`, then one more each time. */
async function openGateway(store: SharedStore, byte: number, clock = new SimulatedClock()) {
  const warnings: string[] = [];
  let next = byte;
  const randomBytes = (size: number): Buffer => Buffer.alloc(size, next++);
  const warn = (message: string): void => void warnings.push(message);
  return { secrets: await VisitorSecrets.open(store, { clock, randomBytes, warn }), clock, warnings };
}

test('gateways of a store have the same secret of 256 bits, and another one each day', async () => {
  const store = new SharedStore();
  const [one, other] = [await openGateway(store, 1), await openGateway(store, 100)];
  const first = one.secrets.current;
  expect(first).toEqual(Buffer.alloc(32, 1));
  for (const { clock } of [one, other]) await clock.advance(DAY_MS - 1);
  expect([one.secrets.current, other.secrets.current]).toEqual([first, first]);
  for (const { clock } of [one, other]) await clock.advance(1);
  expect(one.secrets.current).not.toEqual(first);
  expect(other.secrets.current).toEqual(one.secrets.current);
});

test('a secret is kept under the name of its UTC day until the end of the next one', async () => {
  const store = new SharedStore();
  const { clock } = await openGateway(store, 1);
  const startMs = clock.wallMs();
  await clock.advance(DAY_MS);
  expect([...store.kept].map(([day, { forgetAtMs }]) => [day, forgetAtMs - startMs])).toEqual([
    ['2026-01-01', 2 * DAY_MS],
    ['2026-01-02', 3 * DAY_MS],
  ]);
});

test('a store that is down at midnight does no harm if it was up two hours before', async () => {
  const store = new SharedStore();
  const { secrets, clock, warnings } = await openGateway(store, 1);
  const first = secrets.current;
  await clock.advance(DAY_MS - HOUR_MS);
  store.isDown = true;
  await clock.advance(2 * HOUR_MS);
  expect(secrets.current).not.toEqual(first);
  expect(warnings).toEqual([]);
});

test('without a secret of today a gateway uses that of yesterday, warns once, and takes the new one when the store is back', async () => {
  const store = new SharedStore();
  const { secrets, clock, warnings } = await openGateway(store, 1);
  const first = secrets.current;
  store.isDown = true;
  await clock.advance(DAY_MS + 3 * HOUR_MS);
  expect(secrets.current).toEqual(first);
  expect(warnings).toEqual([expect.stringContaining('keep the actor of the day before: down')]);
  store.isDown = false;
  await clock.advance(60_000);
  expect(secrets.current).not.toEqual(first);
});

test('a gateway does not use a secret for more than two days, however long the store is down', async () => {
  const store = new SharedStore();
  const { secrets, clock } = await openGateway(store, 1);
  store.isDown = true;
  await clock.advance(2 * DAY_MS - 1);
  expect(secrets.current).toEqual(Buffer.alloc(32, 1));
  await clock.advance(1);
  expect(() => secrets.current).toThrow('the store does not respond');
});

test('a secret that the store has lost comes back from a gateway, and all gateways agree on it again', async () => {
  const store = new SharedStore();
  const one = await openGateway(store, 1);
  store.kept.clear();
  const other = await openGateway(store, 100);
  expect(other.secrets.current).not.toEqual(one.secrets.current);
  for (const { clock } of [one, other]) await clock.advance(60_000);
  expect(one.secrets.current).toEqual(other.secrets.current);
  store.kept.clear();
  await one.clock.advance(60_000);
  expect(store.kept.get('2026-01-01')!.secret).toEqual(one.secrets.current);
});

test('closed secrets leave no timer', async () => {
  const { secrets, clock } = await openGateway(new SharedStore(), 1);
  secrets.close();
  expect(clock.timers).toBe(0);
});
