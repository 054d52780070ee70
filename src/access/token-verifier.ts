import { errors, type JWTPayload, jwtVerify, type JWTVerifyOptions } from 'jose';
import { ProtocolError } from '../protocol/errors.js';
import { ACTOR_MAX, WELL_FORMED_RULE } from '../protocol/limits.js';
import type { JwtSettings } from '../config/settings.js';
import { type KeySet, KeySetUnavailable } from './key-set.js';

export interface VerifiedToken {
  readonly subject: string;
  /** ms since 1970; `null`: never. */
  readonly expiresAtMs: number | null;
}

/** A secret verifies only HMAC and a key set only signatures, so that neither can pass for the other. */
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

/** Verifies the tokens of actors, by a shared secret or a key set. */
export class TokenVerifier {
  readonly #verify: (token: string) => Promise<{ payload: JWTPayload }>;

  /** @param keys of the settings' `jwksUrl`; `null`: the secret verifies */
  constructor(
    { secret, issuer, audience }: JwtSettings,
    readonly keys: KeySet | null,
  ) {
    const claims = { ...(issuer !== undefined && { issuer }), ...(audience !== undefined && { audience }) };
    if (keys !== null) {
      const options: JWTVerifyOptions = { ...claims, algorithms: SIGNATURES };
      this.#verify = (token) => jwtVerify(token, keys.keyFor, options);
    } else {
      const key = new TextEncoder().encode(secret);
      const options: JWTVerifyOptions = { ...claims, algorithms: HMAC };
      this.#verify = (token) => jwtVerify(token, key, options);
    }
  }

  /** @throws ProtocolError UNAUTHORIZED, or UNAVAILABLE when the key set cannot be fetched. */
  async verify(token: string): Promise<VerifiedToken> {
    const { payload } = await this.#verify(token).catch((error: unknown) => {
      throw toRejection(error);
    });
    const { sub, exp } = payload;
    if (typeof sub !== 'string' || sub.length < 1 || sub.length > ACTOR_MAX) {
      throw new ProtocolError('UNAUTHORIZED', `the token needs a "sub" of 1 to ${ACTOR_MAX} characters`);
    }
    if (!sub.isWellFormed()) throw new ProtocolError('UNAUTHORIZED', `the token's "sub" ${WELL_FORMED_RULE}`);
    return { subject: sub, expiresAtMs: exp === undefined ? null : exp * 1000 };
  }
}

function toRejection(error: unknown): ProtocolError {
  if (error instanceof errors.JWTExpired) {
    return new ProtocolError('UNAUTHORIZED', 'the token has expired; get a new one');
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    return new ProtocolError('UNAUTHORIZED', `the token's claim "${error.claim}" does not have the required value`);
  }
  if (error instanceof KeySetUnavailable) {
    return new ProtocolError('UNAVAILABLE', 'the keys that verify tokens cannot be fetched; retry later', 1000);
  }
  return new ProtocolError(
    'UNAUTHORIZED',
    'the token is not valid: it must be a JWT signed with the key of this gateway',
  );
}
