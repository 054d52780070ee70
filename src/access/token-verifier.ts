import { errors, type JWTPayload, jwtVerify, type JWTVerifyOptions } from 'jose';
import type { Clock } from '../common/clock.js';
import type { JwtSettings } from '../config/jwt-settings.js';
import { ProtocolError } from '../protocol/errors.js';
import { ACTOR_MAX, WELL_FORMED_RULE } from '../protocol/limits.js';
import { type KeySet, KeySetUnavailable } from './key-set.js';
import type { ThrottledLog } from './throttled-log.js';
import { explainActorClaim, explainRejection, type TokenRejection } from './token-rejection.js';

export interface VerifiedToken {
  readonly subject: string;
  /** ms since 1970; `null`: never. */
  readonly expiresAtMs: number | null;
}

type Verified = Promise<{ readonly payload: JWTPayload }>;

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

const ACTOR_RULE = `must be 1 to ${ACTOR_MAX} characters, or a whole number of at most 2^53 - 1`;

/** Verifies the tokens of actors, by a shared secret or a key set. */
export class TokenVerifier {
  readonly #options: JWTVerifyOptions;
  readonly #verify: (token: string, options: JWTVerifyOptions) => Verified;

  /**
   * @param keys of the settings' `jwksUrl`; `null`: the secret verifies
   * @param rejections for the operator
   */
  constructor(
    private readonly jwt: JwtSettings,
    readonly keys: KeySet | null,
    private readonly clock: Clock,
    private readonly rejections: ThrottledLog,
  ) {
    const { secret, issuer, audience, clockToleranceS } = jwt;
    const claims = { ...(issuer !== undefined && { issuer }), ...(audience !== undefined && { audience }) };
    const algorithms = keys === null ? HMAC : SIGNATURES;
    this.#options = { ...claims, algorithms, clockTolerance: clockToleranceS };
    const key = new TextEncoder().encode(secret);
    this.#verify =
      keys === null
        ? (token, options) => jwtVerify(token, key, options)
        : (token, options) => verifyByKeySet(token, keys, options);
  }

  /** @throws ProtocolError UNAUTHORIZED, or UNAVAILABLE when the key set cannot be fetched. */
  async verify(token: string): Promise<VerifiedToken> {
    const { clockToleranceS } = this.jwt;
    const nowMs = this.clock.wallMs();
    const options = { ...this.#options, currentDate: new Date(nowMs) };
    const { payload } = await this.#verify(token, options).catch((error: unknown) => {
      if (error instanceof KeySetUnavailable) {
        throw new ProtocolError('UNAVAILABLE', 'the keys that verify tokens cannot be fetched; retry later', 1000);
      }
      throw this.#reject(explainRejection(error, token, this.jwt, nowMs / 1000));
    });
    const { exp } = payload;
    return {
      subject: this.#readActor(payload),
      expiresAtMs: exp === undefined ? null : (exp + clockToleranceS) * 1000,
    };
  }

  /** @returns the error for an actor that this gateway does not accept by this rule */
  rejectActor(rule: string): ProtocolError {
    const { actorClaim } = this.jwt;
    const remedy = 'JWT_ACTOR_CLAIM may name a claim with a number; ACTOR_KEYS=hash takes any name, for new data';
    return this.#reject({ cause: 'actor', message: `the token's "${actorClaim}" ${rule}`, remedy });
  }

  #readActor(payload: JWTPayload): string {
    const { actorClaim } = this.jwt;
    const value = payload[actorClaim];
    const actor = Number.isSafeInteger(value) ? String(value) : value;
    if (typeof actor !== 'string' || actor.length < 1 || actor.length > ACTOR_MAX) {
      throw this.#reject(explainActorClaim(actorClaim, payload, ACTOR_RULE));
    }
    if (!actor.isWellFormed()) throw this.#reject(explainActorClaim(actorClaim, payload, WELL_FORMED_RULE));
    return actor;
  }

  #reject({ cause, message, remedy }: TokenRejection): ProtocolError {
    this.rejections.warn(cause, `rejected a token: ${message}; ${remedy}`);
    return new ProtocolError('UNAUTHORIZED', message);
  }
}

async function verifyByKeySet(token: string, keys: KeySet, options: JWTVerifyOptions): Verified {
  try {
    return await jwtVerify(token, keys.keyFor, options);
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    return verifyByAny(token, error, options);
  }
}

/** Verifies a token that does not name its key (`kid`), and that several keys fit. */
async function verifyByAny(
  token: string,
  candidates: errors.JWKSMultipleMatchingKeys,
  options: JWTVerifyOptions,
): Verified {
  for await (const key of candidates) {
    try {
      return await jwtVerify(token, key, options);
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    }
  }
  throw new errors.JWSSignatureVerificationFailed();
}
