import { type CryptoKey, type JWTPayload, SignJWT } from 'jose';
import type { KeySet } from '../../src/access/key-set.js';
import { ThrottledLog } from '../../src/access/throttled-log.js';
import { TokenVerifier } from '../../src/access/token-verifier.js';
import { type Clock, systemClock } from '../../src/common/clock.js';
import type { JwtSettings } from '../../src/config/jwt-settings.js';
import { type ErrorBody, ProtocolError } from '../../src/protocol/errors.js';

export const SECRET = 'a secret of at least thirty-two bytes';
export const SECRET_BYTES = new TextEncoder().encode(SECRET);

interface VerifierOptions {
  readonly keys?: KeySet;
  readonly clock?: Clock;
  /** Collects the lines of the log. */
  readonly lines?: string[];
}

/** A verifier whose other settings have their defaults, except that it tolerates no difference between clocks. */
export function createVerifier(jwt: Partial<JwtSettings>, options: VerifierOptions = {}): TokenVerifier {
  const { keys = null, clock = systemClock, lines = [] } = options;
  const log = new ThrottledLog(clock, (line) => lines.push(line));
  return new TokenVerifier({ actorClaim: 'sub', clockToleranceS: 0, ...jwt }, keys, clock, log);
}

export function signed(
  payload: JWTPayload,
  key: CryptoKey | Uint8Array,
  header: { alg: string; kid?: string } = { alg: 'HS256' },
): Promise<string> {
  return new SignJWT(payload).setProtectedHeader(header).sign(key);
}

/** Resolves with the error by which the token is rejected. */
export async function refusal(tokens: TokenVerifier, token: string): Promise<ErrorBody> {
  const error = await tokens.verify(token).catch((thrown: unknown) => thrown);
  if (!(error instanceof ProtocolError)) throw new Error(`not refused: ${JSON.stringify(error)}`);
  return error.body;
}
