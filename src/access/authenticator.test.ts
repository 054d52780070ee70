import { describe, expect, test } from '@jest/globals';
import { SignJWT } from 'jose';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { callAtExpiry, type Credentials, Authenticator } from './authenticator.js';
import { toActorKey } from './key64.js';
import { TokenVerifier } from './token-verifier.js';

const SECRET = 'a secret of at least thirty-two bytes';
const nothing: Credentials = { token: undefined, actor: undefined, actorField: 'actor' };

describe('without tokens', () => {
  const identities = new Authenticator(null, false, 'hash');

  test('a client is whom it says it is', async () => {
    const identity = await identities.identify({ ...nothing, actor: 'ada' });
    expect(identity).toEqual({ actor: 'ada', key: toActorKey('ada', 'hash'), mayAct: true, expiresAtMs: null });
  });

  test('a client that says nothing may act, as nobody', async () => {
    const identity = await identities.identify(nothing);
    expect(identity).toEqual({ actor: null, key: null, mayAct: true, expiresAtMs: null });
  });

  test('a token means nothing', async () => {
    const identity = await identities.identify({ ...nothing, token: 'x' });
    expect(identity).toMatchObject({ actor: null, mayAct: true });
  });
});

describe('with tokens', () => {
  const tokens = new TokenVerifier({ secret: SECRET }, null);

  test('a client is whom its token says it is, whatever it says itself, until the token expires', async () => {
    const seconds = Math.floor(Date.now() / 1000) + 3_600;
    const token = await new SignJWT({ sub: 'ada' })
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime(seconds)
      .sign(new TextEncoder().encode(SECRET));
    const identity = await new Authenticator(tokens, false, 'hash').identify({ ...nothing, token, actor: 'bob' });
    expect(identity).toEqual({
      actor: 'ada',
      key: toActorKey('ada', 'hash'),
      mayAct: true,
      expiresAtMs: 1000 * seconds,
    });
  });

  test('without one it may watch but not act, and has no name', async () => {
    const identity = await new Authenticator(tokens, false, 'hash').identify({ ...nothing, actor: 'ada' });
    expect(identity).toEqual({ actor: null, key: null, mayAct: false, expiresAtMs: null });
  });

  test('without one it may not even watch where that is private', async () => {
    const refused = new Authenticator(tokens, true, 'hash').identify(nothing);
    await expect(refused).rejects.toMatchObject({ body: { code: 'UNAUTHORIZED' } });
  });

  test('a bad one is refused, and does not make it somebody who only watches', async () => {
    const refused = new Authenticator(tokens, false, 'hash').identify({ ...nothing, token: 'x' });
    await expect(refused).rejects.toMatchObject({ body: { code: 'UNAUTHORIZED' } });
  });
});

test('the end of a token is waited for, if timers go that far', async () => {
  const clock = new SimulatedClock();
  const expired: string[] = [];
  callAtExpiry(clock.wallMs() + 1_000, clock, () => expired.push('soon'));
  expect(callAtExpiry(clock.wallMs() + 2 ** 31, clock, () => expired.push('late'))).toBeNull();
  expect(callAtExpiry(null, clock, () => expired.push('never'))).toBeNull();
  await clock.advance(999);
  expect(expired).toEqual([]);
  await clock.advance(1);
  expect(expired).toEqual(['soon']);
});
