import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { SignJWT } from 'jose';
import { type GatewayProcess, startGateway, stopAll } from '../../test/support/gateway-process.js';
import { until } from '../../test/support/until.js';
import { closeClients, connect, reached, PostWatcher } from './clients.js';
import { HeldClock } from './fake-gateway.js';

const SECRET = 'a secret of at least thirty-two bytes';

/** The client's wait after the second rejection in a row. */
const REFUSED_MS = 30_000;

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ JWT_SECRET: SECRET, JWT_CLOCK_TOLERANCE_S: '0' });
});

afterEach(closeClients);
afterAll(stopAll);

function token(expiresInS: number): Promise<string> {
  const claims = new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject('ann');
  return claims.setExpirationTime(Math.floor(Date.now() / 1_000) + expiresInS).sign(new TextEncoder().encode(SECRET));
}

describe('tokens', () => {
  test('a rejected token is requested again, and the waiting operation is counted', async () => {
    const calls: boolean[] = [];
    const live = connect(gateway.url, {
      token: (refused) => {
        calls.push(refused);
        return refused ? token(3_600) : 'no token at all';
      },
    });
    const errors: string[] = [];
    live.on('error', ({ code }) => errors.push(code));
    await live.post('tokens').like();
    expect(calls).toEqual([false, true]);
    expect(errors).toEqual(['UNAUTHORIZED']);
  });

  test('when a token expires the client reconnects with the next one and misses nothing', async () => {
    let calls = 0;
    const live = connect(gateway.url, { token: () => token(calls++ === 0 ? 3 : 3_600) });
    const seen = new PostWatcher(live, 'expiring');
    await live.post('expiring').like();
    await until(() => calls === 2, 'the client reconnects');
    await live.post('expiring').view();
    await reached(live, 'synced');
    expect(seen.last).toMatchObject({ counts: { likes: 1, views: 1 }, mine: ['likes'] });
  });

  test('a token that is rejected twice rejects the waiting operations', async () => {
    const live = connect(gateway.url, { token: 'no token at all' });
    await expect(live.post('tokens').like()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('an operation that is made after that is rejected at once, and no longer shown', async () => {
    const live = connect(gateway.url, { token: 'no token at all', environment: { clock: new HeldClock(REFUSED_MS) } });
    await expect(live.post('tokens').like()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    await expect(live.post('tokens').view()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect(live.waiting).toBe(0);
  });

  test('a failing token callback is reported as an error, and is called again', async () => {
    let calls = 0;
    const live = connect(gateway.url, {
      environment: { random: () => 0 },
      token: () => (calls++ === 0 ? Promise.reject(new Error('not signed in yet')) : token(3_600)),
    });
    const failed = new Promise((resolve) => live.on('error', resolve));
    const viewed = live.post('tokens').view();
    expect(await failed).toMatchObject({ code: 'TOKEN', message: 'not signed in yet' });
    await viewed;
  });
});
