import { describe, expect, test } from '@jest/globals';
import { SignJWT } from 'jose';
import { createVerifier } from '../../test/support/token-verifier.js';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { NO_ADDRESS } from './address-limiter.js';
import { callAtExpiry, type Credentials, Authenticator } from './authenticator.js';
import { toActorKey, toGuestKey, toSessionKey, toVisitorKey } from './name-hashing.js';

const SECRET = 'a secret of at least thirty-two bytes';
const options = { requireTokenToRead: false, actorKeys: 'hash', admitsGuests: false, visitorSecrets: null } as const;
const unnamed = { actor: null, key: null, mayAct: false, isVerified: false, expiresAtMs: null };
const visitor = { address: '203.0.113.7', userAgent: 'Mozilla/5.0 (X11; Linux x86_64)' };
const nothing: Credentials = { token: undefined, actor: undefined, actorField: 'actor' };

describe('without tokens', () => {
  const identities = new Authenticator(null, options);

  test('without tokens, a client names its actor itself', async () => {
    const identity = await identities.identify({ ...nothing, actor: 'ada' }, null);
    expect(identity).toEqual({ ...unnamed, actor: 'ada', key: toActorKey('ada', 'hash'), mayAct: true });
  });

  test('without tokens, a client without an actor may act anonymously', async () => {
    const identity = await identities.identify(nothing, null);
    expect(identity).toEqual({ ...unnamed, mayAct: true });
  });

  test('without tokens, a token is ignored', async () => {
    const identity = await identities.identify({ ...nothing, token: 'x' }, null);
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
    const identity = await new Authenticator(tokens, options).identify({ ...nothing, token, actor: 'bob' }, null);
    expect(identity).toEqual({
      actor: 'ada',
      key: toActorKey('ada', 'hash'),
      mayAct: true,
      isVerified: true,
      expiresAtMs: 1000 * seconds,
    });
  });

  test('with tokens, a client without one may watch but not act, and has no actor', async () => {
    const identity = await new Authenticator(tokens, options).identify({ ...nothing, actor: 'ada' }, null);
    expect(identity).toEqual(unnamed);
  });

  test('REQUIRE_TOKEN_TO_READ rejects a client without a token', async () => {
    const refused = new Authenticator(tokens, { ...options, requireTokenToRead: true }).identify(nothing, null);
    await expect(refused).rejects.toMatchObject({ body: { code: 'UNAUTHORIZED' } });
  });

  test('a guest is another actor than the one that a token names alike, for toggles and for sessions', async () => {
    const guest = await new Authenticator(tokens, { ...options, admitsGuests: true }).identify(
      {
        ...nothing,
        actor: 'ada',
      },
      null,
    );
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
    await expect(admitting.identifySender(nothing, visitor)).resolves.toEqual(unnamed);
    await expect(admitting.identify(nothing, null)).rejects.toMatchObject(unauthorized);
    await expect(new Authenticator(tokens, strict).identifySender(nothing, visitor)).rejects.toMatchObject(
      unauthorized,
    );
  });

  test('an invalid token is rejected instead of making its client a viewer without an actor', async () => {
    const refused = new Authenticator(tokens, options).identify({ ...nothing, token: 'x' }, null);
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

describe('visitors without a name', () => {
  const secret = Buffer.alloc(32, 1);
  const ofDay = (current: Buffer): Authenticator =>
    new Authenticator(null, { ...options, visitorSecrets: { current } });
  const authenticator = ofDay(secret);

  test('a visitor has a key and no name, whatever the gateway verifies', async () => {
    const key = toVisitorKey(secret, visitor.address, visitor.userAgent);
    expect(await authenticator.identify(nothing, visitor)).toEqual({ ...unnamed, key, mayAct: true });
    const tokens = createVerifier({ secret: SECRET });
    const watching = new Authenticator(tokens, { ...options, visitorSecrets: { current: secret } });
    expect(await watching.identify(nothing, visitor)).toEqual({ ...unnamed, key });
  });

  test.each([
    ['another address', { ...visitor, address: '203.0.113.8' }, secret],
    ['another browser', { ...visitor, userAgent: 'Mozilla/5.0 (Windows NT 10.0)' }, secret],
    ['no user agent', { ...visitor, userAgent: undefined }, secret],
    [
      'an address that takes a letter of its user agent',
      { address: `${visitor.address}M`, userAgent: visitor.userAgent.slice(1) },
      secret,
    ],
    ['another day', visitor, Buffer.alloc(32, 2)],
  ])('a visitor with %s is another actor', async (_, other, current) => {
    const { key } = await authenticator.identify(nothing, visitor);
    expect((await ofDay(current).identify(nothing, other)).key).not.toEqual(key);
  });

  test('a name goes before the address, and clients of no known address are nobody', async () => {
    const named = await authenticator.identify({ ...nothing, actor: 'ada' }, visitor);
    expect(named.key).toEqual(toActorKey('ada', 'hash'));
    expect(await authenticator.identify(nothing, { ...visitor, address: NO_ADDRESS })).toMatchObject({ key: null });
  });
});
