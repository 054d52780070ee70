import { decodeProtectedHeader, errors, type JWTPayload } from 'jose';
import { CLOCK_TOLERANCE_MAX_S, type JwtSettings } from '../config/jwt-settings.js';

/** Characters of a claim or of names that a message repeats. */
const SHOWN_MAX = 200;

/** Why a token is rejected. Nothing of it is secret, and the token is not part of it. */
export interface TokenRejection {
  /** The claim or the kind of fault, under which the log throttles. */
  readonly cause: string;
  /** For the client: what is wrong with the token. */
  readonly message: string;
  /** For the operator: the setting or the change elsewhere that would accept it. */
  readonly remedy: string;
}

/** @param error of jose's `jwtVerify` for the token */
export function explainRejection(error: unknown, token: string, jwt: JwtSettings, nowS: number): TokenRejection {
  if (error instanceof errors.JWTExpired || error instanceof errors.JWTClaimValidationFailed) {
    return explainClaim(error, jwt, nowS);
  }
  const name = jwt.jwksUrl === undefined ? 'JWT_SECRET' : 'JWT_JWKS_URL';
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    const remedy =
      name === 'JWT_SECRET'
        ? 'the issuer of the tokens and this gateway need the same secret, byte for byte'
        : 'JWT_JWKS_URL has to be that of the issuer of the tokens';
    return { cause: 'signature', message: `the token's signature does not match ${name}`, remedy };
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return explainAlgorithm(token, name);
  if (error instanceof errors.JWKSNoMatchingKey) {
    const { kid, alg } = decodeProtectedHeader(token);
    const key = kid === undefined ? 'names no key' : `is signed with the key ${show(kid)}`;
    const message = `the token ${key}, and JWT_JWKS_URL has none like it for ${show(alg)}`;
    return { cause: 'kid', message, remedy: 'JWT_JWKS_URL has to be that of the issuer of the tokens' };
  }
  return explainText(token);
}

/** @param claim that JWT_ACTOR_CLAIM names, and that names no actor */
export function explainActorClaim(claim: string, payload: JWTPayload, rule: string): TokenRejection {
  const isMissing = payload[claim] === undefined;
  const names = Object.keys(payload).join(', ').slice(0, SHOWN_MAX);
  return {
    cause: 'actor',
    message: isMissing
      ? `the token has no "${claim}"; it has ${names || 'no claims'}`
      : `the token's "${claim}" ${rule}`,
    remedy: `JWT_ACTOR_CLAIM is ${claim}: set it to the claim that names the users`,
  };
}

function explainClaim(
  { claim, reason, payload }: errors.JWTExpired | errors.JWTClaimValidationFailed,
  jwt: JwtSettings,
  nowS: number,
): TokenRejection {
  const value = payload[claim];
  if (reason === 'invalid') {
    const message = `the token's "${claim}" is ${show(value)}, and must be a number of seconds`;
    return { cause: claim, message, remedy: 'correct it where the tokens are made' };
  }
  if (claim === 'exp') return explainExpiry(nowS - Number(value), jwt);
  if (claim === 'nbf') {
    const message = `the token's "nbf" is ${Math.ceil(Number(value) - nowS)} s ahead of this gateway's clock`;
    return { cause: claim, message, remedy: describeTolerance(jwt) };
  }
  const [name, required] = claim === 'iss' ? ['JWT_ISSUER', jwt.issuer] : ['JWT_AUDIENCE', jwt.audience];
  if (reason === 'missing') {
    const message = `the token has no "${claim}", and ${name} is ${show(required)}`;
    return { cause: claim, message, remedy: `have the issuer add it, or unset ${name}` };
  }
  const message = `the token's "${claim}" is ${show(value)}, and ${name} is ${show(required)}`;
  return { cause: claim, message, remedy: `if such tokens are meant for this gateway, change ${name}` };
}

function explainExpiry(agoS: number, jwt: JwtSettings): TokenRejection {
  return {
    cause: 'exp',
    message: `the token has expired, ${Math.ceil(agoS)} s ago by this gateway's clock; get a new one`,
    remedy:
      agoS > CLOCK_TOLERANCE_MAX_S ? 'pages have to get a new token before they connect again' : describeTolerance(jwt),
  };
}

function describeTolerance({ clockToleranceS }: JwtSettings): string {
  return `JWT_CLOCK_TOLERANCE_S is ${clockToleranceS}: if the clocks differ, set them right or raise it`;
}

function explainAlgorithm(token: string, name: string): TokenRejection {
  const algorithm = show(decodeProtectedHeader(token).alg);
  if (name === 'JWT_SECRET') {
    const message = `the token is signed with ${algorithm}, and JWT_SECRET verifies HS256, HS384 and HS512 only`;
    return { cause: 'alg', message, remedy: 'if its issuer publishes keys, set JWT_JWKS_URL instead of JWT_SECRET' };
  }
  const message = `the token is signed with ${algorithm}, and JWT_JWKS_URL verifies signatures by RSA, ECDSA and EdDSA only`;
  return { cause: 'alg', message, remedy: 'if its issuer signs with a secret, set JWT_SECRET instead of JWT_JWKS_URL' };
}

/** For a text that is no signed JWT. */
function explainText(token: string): TokenRejection {
  const isEncrypted = token.split('.', 6).length === 5;
  return {
    cause: 'format',
    message: isEncrypted
      ? 'the token is encrypted (JWE), and has to be signed only (JWS)'
      : 'the token is not a valid JWT: it has to be a signed one, as its issuer made it',
    remedy: 'pages have to send the access token or the ID token of their issuer, or one that your server signs',
  };
}

/** Objects are not shown, because a token may nest them deeper than JSON.stringify can follow. */
function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const isFlat = (one: unknown): boolean => typeof one !== 'object' || one === null;
  if (isFlat(value) || (Array.isArray(value) && value.every(isFlat))) return JSON.stringify(value).slice(0, SHOWN_MAX);
  return Array.isArray(value) ? 'a list with objects' : 'an object';
}
