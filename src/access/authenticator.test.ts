import { describe, expect, test } from '@jest/globals';
import { SignJWT } from 'jose';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { callAtExpiry, type Credentials, Authenticator } from './authenticator.js';
import { toActorKey } from './name-hashing.js';
import { TokenVerifier } from './token-verifier.js';

const SECRET = 'a secret of at least thirty-two bytes';
const nothing: Credentials = { token: undefined, actor: undefined, actorField: 'actor' };

describe('without tokens', () => {
  const identities = new Authenticator(null, false, 'hash');

  test('without tokens, a client names its actor itself', async () => {
    const identity = await identities.identify({ ...nothing, actor: 'ada' });
    expect(identity).toEqual({ actor: 'ada', key: toActorKey('ada', 'hash'), mayAct: true, expiresAtMs: null });
  });

  test('without tokens, a client without an actor may act anonymously', async () => {
    const identity = await identities.identify(nothing);
    expect(identity).toEqual({ actor: null, key: null, mayAct: true, expiresAtMs: null });
  });

  test('without tokens, a token is ignored', async () => {
    const identity = await identities.identify({ ...nothing, token: 'x' });
    expect(identity).toMatchObject({ actor: null, mayAct: true });
  });
});

describe('with tokens', () => {
  const tokens = new TokenVerifier({ secret: SECRET }, null);

  test('with tokens, the subject of the token is the actor until the token expires, whatever the client claims', async () => {
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

  test('with tokens, a client without one may watch but not act, and has no actor', async () => {
    const identity = await new Authenticator(tokens, false, 'hash').identify({ ...nothing, actor: 'ada' });
    expect(identity).toEqual({ actor: null, key: null, mayAct: false, expiresAtMs: null });
  });

  test('REQUIRE_TOKEN_TO_READ rejects a client without a token', async () => {
    const refused = new Authenticator(tokens, true, 'hash').identify(nothing);
    await expect(refused).rejects.toMatchObject({ body: { code: 'UNAUTHORIZED' } });
  });

  test('an invalid token is rejected instead of making its client a viewer without an actor', async () => {
    const refused = new Authenticator(tokens, false, 'hash').identify({ ...nothing, token: 'x' });
    await expect(refused).rejects.toMatchObject({ body: { code: 'UNAUTHORIZED' } });
  });
});

test('the callback at the expiry of a token runs on time, and is not scheduled beyond the range of timers', async () => {
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
