import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify, type JWTVerifyOptions } from 'jose';
import { ProtocolError } from '../protocol/errors.js';
import type { JwtSettings } from '../settings.js';
import { ACTOR_MAX } from './identity.js';
import { WELL_FORMED_RULE } from './keys.js';

export interface VerifiedToken {
  readonly subject: string;
  /** ms since 1970; `null`: never. */
  readonly expiresAtMs: number | null;
}

/** With a secret only HMAC is accepted and with a key set only signatures, so that neither can pass for the other. */
const HMAC = ['HS256', 'HS384', 'HS512'];
const SIGNATURES = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];

/** Verifies the tokens of actors, by a shared secret or the key set at a URL (fetched when needed, and cached). */
export class Tokens {
  readonly #verify: (token: string) => Promise<{ payload: JWTPayload }>;

  constructor({ secret, jwksUrl, issuer, audience }: JwtSettings) {
    const claims = { ...(issuer !== undefined && { issuer }), ...(audience !== undefined && { audience }) };
    if (jwksUrl !== undefined) {
      const keys = createRemoteJWKSet(jwksUrl);
      const options: JWTVerifyOptions = { ...claims, algorithms: SIGNATURES };
      this.#verify = (token) => jwtVerify(token, keys, options);
    } else {
      const key = new TextEncoder().encode(secret);
      const options: JWTVerifyOptions = { ...claims, algorithms: HMAC };
      this.#verify = (token) => jwtVerify(token, key, options);
    }
  }

  /** @throws ProtocolError UNAUTHORIZED, or UNAVAILABLE when the key set cannot be fetched. */
  async verify(token: string): Promise<VerifiedToken> {
    const { payload } = await this.#verify(token).catch((error: unknown) => {
      throw refusal(error);
    });
    const { sub, exp } = payload;
    if (typeof sub !== 'string' || sub.length < 1 || sub.length > ACTOR_MAX) {
      throw new ProtocolError('UNAUTHORIZED', `the token needs a "sub" of 1 to ${ACTOR_MAX} characters`);
    }
    if (!sub.isWellFormed()) throw new ProtocolError('UNAUTHORIZED', `the token's "sub" ${WELL_FORMED_RULE}`);
    return { subject: sub, expiresAtMs: exp === undefined ? null : exp * 1000 };
  }
}

/** The keys' server is away, or what it answers is no key set: not the token's fault. */
const FETCHING: ReadonlySet<string> = new Set(['ERR_JWKS_TIMEOUT', 'ERR_JOSE_GENERIC', 'ERR_JWKS_INVALID']);

function refusal(error: unknown): ProtocolError {
  if (error instanceof errors.JWTExpired) {
    return new ProtocolError('UNAUTHORIZED', 'the token has expired; get a new one');
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    return new ProtocolError(
      'UNAUTHORIZED',
      `the token's claim "${error.claim}" is not the one that is asked for here`,
    );
  }
  const fetching = !(error instanceof errors.JOSEError) || FETCHING.has(error.code);
  if (fetching) {
    return new ProtocolError('UNAVAILABLE', 'the keys that verify tokens cannot be fetched; retry later', 1000);
  }
  return new ProtocolError(
    'UNAUTHORIZED',
    'the token is not valid: it must be a JWT signed with the key of this gateway',
  );
}
