import { describe, expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { createVerifier, refusal, SECRET, SECRET_BYTES, signed } from '../../test/support/token-verifier.js';
import type { JwtSettings } from '../config/jwt-settings.js';

describe('a rejected token', () => {
  const clock = new SimulatedClock();
  const now = clock.wallMs() / 1_000;
  const COUNTS = { issuer: 'https://id.example.org', audience: 'counts' };

  test.each<[object, Partial<JwtSettings>, string, string]>([
    [{ exp: now - 6 }, {}, 'the token has expired, 6 s ago', 'JWT_CLOCK_TOLERANCE_S is 5'],
    [{ exp: now - 900 }, {}, 'the token has expired, 900 s ago', 'pages have to get a new token'],
    [{ nbf: now + 42 }, {}, `"nbf" is 42 s ahead of this gateway's clock`, 'JWT_CLOCK_TOLERANCE_S is 5'],
    [{ exp: `${now}` }, {}, `"exp" is "${now}", and must be a number`, 'where the tokens are made'],
    [{ aud: 'x', iss: COUNTS.issuer }, COUNTS, '"aud" is "x", and JWT_AUDIENCE is "counts"', 'change JWT_AUDIENCE'],
    [
      { aud: ['x', 'y'], iss: COUNTS.issuer },
      COUNTS,
      '"aud" is ["x","y"], and JWT_AUDIENCE is "counts"',
      'JWT_AUDIENCE',
    ],
    [{ aud: [{ deep: [] }], iss: COUNTS.issuer }, COUNTS, '"aud" is a list with objects', 'JWT_AUDIENCE'],
    [{ iss: COUNTS.issuer }, COUNTS, 'no "aud", and JWT_AUDIENCE is "counts"', 'unset JWT_AUDIENCE'],
    [
      { aud: 'counts', iss: 'https://id.example.org/' },
      COUNTS,
      '"iss" is "https://id.example.org/", and JWT_ISSUER is "https://id.example.org"',
      'change JWT_ISSUER',
    ],
    [{ sub: undefined, uid: 7, exp: now }, {}, 'the token has no "sub"; it has uid, exp', 'JWT_ACTOR_CLAIM is sub'],
    [
      { uid: '' },
      { actorClaim: 'uid' },
      '"uid" must be 1 to 128 characters, or a whole number',
      'JWT_ACTOR_CLAIM is uid',
    ],
  ])('a rejection of %j says which claim, and the log which setting', async (claims, jwt, message, remedy) => {
    const lines: string[] = [];
    const verifier = createVerifier({ secret: SECRET, clockToleranceS: 5, ...jwt }, { clock, lines });
    const token = await signed({ sub: 'ada', ...claims }, SECRET_BYTES);
    const error = await refusal(verifier, token);
    expect(error).toMatchObject({ code: 'UNAUTHORIZED', message: expect.stringContaining(message) });
    await refusal(verifier, token);
    expect(lines).toEqual([expect.stringMatching(/^rejected a token: /)]);
    expect(lines[0]).toContain(message);
    expect(lines[0]).toContain(remedy);
  });

  test('a rejection is logged again after a minute', async () => {
    const lines: string[] = [];
    const verifier = createVerifier({ secret: SECRET }, { clock, lines });
    await refusal(verifier, 'x');
    await clock.advance(60_000);
    await refusal(verifier, 'x');
    expect(lines).toHaveLength(2);
  });
});
