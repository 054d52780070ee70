import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { SignJWT } from 'jose';
import { type GatewayProcess, startGateway, stopAll } from '../../test/support/gateway-process.js';
import { until } from '../../test/support/until.js';
import { closeClients, connect, reached, PostWatcher } from './clients.js';

const SECRET = 'a secret of at least thirty-two bytes';

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ JWT_SECRET: SECRET });
});

afterEach(closeClients);
afterAll(stopAll);

function token(lifeS: number): Promise<string> {
  const claims = new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject('ann');
  return claims.setExpirationTime(Math.floor(Date.now() / 1_000) + lifeS).sign(new TextEncoder().encode(SECRET));
}

describe('tokens', () => {
  test('one that was refused is asked for anew, and what waited is counted', async () => {
    const askedWith: boolean[] = [];
    const live = connect(gateway.url, {
      token: (refused) => {
        askedWith.push(refused);
        return refused ? token(3_600) : 'no token at all';
      },
    });
    const errors: string[] = [];
    live.on('error', ({ code }) => errors.push(code));
    await live.post('tokens').like();
    expect(askedWith).toEqual([false, true]);
    expect(errors).toEqual(['UNAUTHORIZED']);
  });

  test('when one expires the client comes back with the next, and misses nothing', async () => {
    let asked = 0;
    const live = connect(gateway.url, { token: () => token(asked++ === 0 ? 3 : 3_600) });
    const seen = new PostWatcher(live, 'expiring');
    await live.post('expiring').like();
    await until(() => asked === 2, 'the client comes back');
    await live.post('expiring').view();
    await reached(live, 'synced');
    expect(seen.last).toMatchObject({ counts: { likes: 1, views: 1 }, mine: ['likes'] });
  });

  test('one that is refused again and again rejects what waits', async () => {
    const live = connect(gateway.url, { token: 'no token at all' });
    await expect(live.post('tokens').like()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('a callback that fails is an error, and is asked again', async () => {
    let asked = 0;
    const live = connect(gateway.url, {
      environment: { random: () => 0 },
      token: () => (asked++ === 0 ? Promise.reject(new Error('not signed in yet')) : token(3_600)),
    });
    const failed = new Promise((resolve) => live.on('error', resolve));
    const viewed = live.post('tokens').view();
    expect(await failed).toMatchObject({ code: 'TOKEN', message: 'not signed in yet' });
    await viewed;
  });
});
