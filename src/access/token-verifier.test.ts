import { describe, expect, test } from '@jest/globals';
import { base64url, generateKeyPair, type JWTPayload, UnsecuredJWT } from 'jose';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { createVerifier, refusal, SECRET, SECRET_BYTES, signed } from '../../test/support/token-verifier.js';
import type { JwtSettings } from '../config/jwt-settings.js';
import { ACTOR_MAX } from '../protocol/limits.js';

const HOUR_S = 3_600;
const nowS = (): number => Math.floor(Date.now() / 1000);

describe('by a shared secret', () => {
  const tokens = createVerifier({ secret: SECRET });

  test.each(['HS256', 'HS384', 'HS512'])(
    'a token signed with the secret is accepted, and its subject is the actor: %s',
    async (alg) => {
      const exp = nowS() + HOUR_S;
      const token = await signed({ sub: 'ada', exp }, SECRET_BYTES, { alg });
      expect(await tokens.verify(token)).toEqual({ subject: 'ada', expiresAtMs: 1000 * exp });
    },
  );

  test('a token without an expiry never expires', async () => {
    const token = await signed({ sub: 'ada' }, SECRET_BYTES);
    expect(await tokens.verify(token)).toEqual({ subject: 'ada', expiresAtMs: null });
  });

  test('an expired token is rejected with that reason', async () => {
    const token = await signed({ sub: 'ada', exp: nowS() - 1 }, SECRET_BYTES);
    expect(await refusal(tokens, token)).toMatchObject({
      code: 'UNAUTHORIZED',
      message: expect.stringMatching('expired'),
    });
  });

  test('a token that is not valid yet is rejected', async () => {
    const token = await signed({ sub: 'ada', nbf: nowS() + HOUR_S }, SECRET_BYTES);
    expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('a token signed with another secret is rejected', async () => {
    const token = await signed({ sub: 'ada' }, new TextEncoder().encode(`${SECRET}!`));
    expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('a token with a changed payload is rejected', async () => {
    const [header, , signature] = (await signed({ sub: 'ada' }, SECRET_BYTES)).split('.');
    const payload = base64url.encode(JSON.stringify({ sub: 'bob' }));
    expect(await refusal(tokens, `${header}.${payload}.${signature}`)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('a token without a signature is rejected', async () => {
    const unsecured = new UnsecuredJWT({ sub: 'ada' }).encode();
    const [header, payload] = (await signed({ sub: 'ada' }, SECRET_BYTES)).split('.');
    for (const token of [unsecured, `${header}.${payload}.`])
      expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('a token signed with a key pair is rejected where a secret is set', async () => {
    const { privateKey } = await generateKeyPair('RS256');
    const token = await signed({ sub: 'ada' }, privateKey, { alg: 'RS256' });
    expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test.each(['', 'x', 'a.b', 'a.b.c', 'a.b.c.d.e', '..', '\u0000', 'eyJhbGciOiJIUzI1NiJ9.e30'])(
    'a text that is no token is rejected: "%s"',
    async (token) => {
      expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAUTHORIZED', retryable: false });
    },
  );

  test.each([
    ['none', {}],
    ['an empty one', { sub: '' }],
    ['a number with a fraction', { sub: 7.5 }],
    ['a number that JSON rounds', { sub: 2 ** 53 }],
    ['a list', { sub: ['ada'] }],
    ['one that is too long', { sub: 'x'.repeat(ACTOR_MAX + 1) }],
  ])('a subject must have 1 to 128 characters, not %s', async (_, payload) => {
    const token = await signed(payload as JWTPayload, SECRET_BYTES);
    expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('a subject of 128 characters is accepted', async () => {
    const sub = 'x'.repeat(ACTOR_MAX);
    expect((await tokens.verify(await signed({ sub }, SECRET_BYTES))).subject).toBe(sub);
  });
});

describe('the actor', () => {
  test.each<[string, Partial<JwtSettings>, object, string]>([
    ['a number', {}, { sub: 42 }, '42'],
    ['the same number as text', {}, { sub: '42' }, '42'],
    ['the largest safe number', {}, { sub: Number.MAX_SAFE_INTEGER }, '9007199254740991'],
    ['a negative number', {}, { sub: -7 }, '-7'],
    ['another claim', { actorClaim: 'user_id' }, { user_id: 7, sub: 'session' }, '7'],
    ['a namespaced claim', { actorClaim: 'https://example.org/uid' }, { 'https://example.org/uid': 'ada' }, 'ada'],
  ])('the actor is taken from %s', async (_title, jwt, payload, actor) => {
    const token = await signed(payload as JWTPayload, SECRET_BYTES);
    expect((await createVerifier({ secret: SECRET, ...jwt }).verify(token)).subject).toBe(actor);
  });
});

describe('a difference between clocks', () => {
  const clock = new SimulatedClock();
  const now = clock.wallMs() / 1_000;

  test.each([
    [{ exp: now - 4 }, true],
    [{ exp: now - 5 }, false],
    [{ nbf: now + 5 }, true],
    [{ nbf: now + 6 }, false],
    [{ iat: now + 5 }, true],
    [{ iat: now + 900 }, true],
  ])('with a tolerance of 5 s, a token with %j is accepted: %s', async (claims, accepted) => {
    const verifier = createVerifier({ secret: SECRET, clockToleranceS: 5 }, { clock });
    const verified = verifier.verify(await signed({ sub: 'ada', ...claims }, SECRET_BYTES));
    expect(await verified.then(() => true).catch(() => false)).toBe(accepted);
  });

  test('a token is valid until its expiry and the tolerance', async () => {
    const verifier = createVerifier({ secret: SECRET, clockToleranceS: 5 }, { clock });
    const { expiresAtMs } = await verifier.verify(await signed({ sub: 'ada', exp: now + 60 }, SECRET_BYTES));
    expect(expiresAtMs).toBe(clock.wallMs() + 65_000);
  });
});

describe('issuer and audience', () => {
  const tokens = createVerifier({ secret: SECRET, issuer: 'https://id.example.org', audience: 'counts' });
  const right = { sub: 'ada', iss: 'https://id.example.org', aud: ['shop', 'counts'] };

  test('a token of the issuer for this audience is accepted', async () => {
    expect((await tokens.verify(await signed(right, SECRET_BYTES))).subject).toBe('ada');
  });

  test.each([
    ['iss', { ...right, iss: 'https://evil.test' }],
    ['iss', { sub: 'ada', aud: 'counts' }],
    ['aud', { ...right, aud: 'shop' }],
    ['aud', { sub: 'ada', iss: right.iss }],
  ])('a token with another %s, or none, is rejected with the name of the claim: %j', async (claim, payload) => {
    const error = await refusal(tokens, await signed(payload, SECRET_BYTES));
    expect(error).toMatchObject({ code: 'UNAUTHORIZED', message: expect.stringMatching(`"${claim}"`) });
  });
});
