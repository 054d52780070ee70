import { describe, expect, test } from '@jest/globals';
import { SignJWT } from 'jose';
import { createVerifier } from '../../test/support/token-verifier.js';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { callAtExpiry, type Credentials, Authenticator } from './authenticator.js';
import { toActorKey, toGuestKey, toSessionKey } from './name-hashing.js';

const SECRET = 'a secret of at least thirty-two bytes';
const options = { requireTokenToRead: false, actorKeys: 'hash', admitsGuests: false } as const;
const unnamed = { actor: null, key: null, mayAct: false, isVerified: false, expiresAtMs: null };
const nothing: Credentials = { token: undefined, actor: undefined, actorField: 'actor' };

describe('without tokens', () => {
  const identities = new Authenticator(null, options);

  test('without tokens, a client names its actor itself', async () => {
    const identity = await identities.identify({ ...nothing, actor: 'ada' });
    expect(identity).toEqual({ ...unnamed, actor: 'ada', key: toActorKey('ada', 'hash'), mayAct: true });
  });

  test('without tokens, a client without an actor may act anonymously', async () => {
    const identity = await identities.identify(nothing);
    expect(identity).toEqual({ ...unnamed, mayAct: true });
  });

  test('without tokens, a token is ignored', async () => {
    const identity = await identities.identify({ ...nothing, token: 'x' });
    expect(identity).toMatchObject({ actor: null, mayAct: true });
  });
});

describe('with tokens', () => {
  const tokens = createVerifier({ secret: SECRET });

  test('with tokens, the subject of the token is the actor until the token expires, whatever the client claims', async () => {
    const seconds = Math.floor(Date.now() / 1000) + 3_600;
    const token = await new SignJWT({ sub: 'ada' })
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime(seconds)
      .sign(new TextEncoder().encode(SECRET));
    const identity = await new Authenticator(tokens, options).identify({ ...nothing, token, actor: 'bob' });
    expect(identity).toEqual({
      actor: 'ada',
      key: toActorKey('ada', 'hash'),
      mayAct: true,
      isVerified: true,
      expiresAtMs: 1000 * seconds,
    });
  });

  test('with tokens, a client without one may watch but not act, and has no actor', async () => {
    const identity = await new Authenticator(tokens, options).identify({ ...nothing, actor: 'ada' });
    expect(identity).toEqual(unnamed);
  });

  test('REQUIRE_TOKEN_TO_READ rejects a client without a token', async () => {
    const refused = new Authenticator(tokens, { ...options, requireTokenToRead: true }).identify(nothing);
    await expect(refused).rejects.toMatchObject({ body: { code: 'UNAUTHORIZED' } });
  });

  test('a guest is another actor than the one that a token names alike, for toggles and for sessions', async () => {
    const guest = await new Authenticator(tokens, { ...options, admitsGuests: true }).identify({
      ...nothing,
      actor: 'ada',
    });
    expect(guest).toEqual({ ...unnamed, actor: { guest: 'ada' }, key: toGuestKey('ada') });
    expect(guest.key).not.toEqual(toActorKey('ada', 'hash'));
    const session = '0123456789abcdef';
    const named = ['ada', null, '{"guest":"ada"}'].map((actor) => toSessionKey(actor, session));
    expect(named).not.toContainEqual(toSessionKey(guest.actor, session));
  });

  test('a guest that gets no counts needs no token where reading requires one, and others do', async () => {
    const strict = { ...options, requireTokenToRead: true };
    const unauthorized = { body: { code: 'UNAUTHORIZED' } };
    const admitting = new Authenticator(tokens, { ...strict, admitsGuests: true });
    await expect(admitting.identifySender(nothing)).resolves.toEqual(unnamed);
    await expect(admitting.identify(nothing)).rejects.toMatchObject(unauthorized);
    await expect(new Authenticator(tokens, strict).identifySender(nothing)).rejects.toMatchObject(unauthorized);
  });

  test('an invalid token is rejected instead of making its client a viewer without an actor', async () => {
    const refused = new Authenticator(tokens, options).identify({ ...nothing, token: 'x' });
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
