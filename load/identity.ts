import { createHmac } from 'node:crypto';

/** A decimal int64, which gateways accept with every value of `ACTOR_KEYS`. */
const READER = '0';
const HEADER = { alg: 'HS256', typ: 'JWT' };

/** Read from the environment, because command lines are visible to other users and options appear in reports. */
function readSecret(): string | undefined {
  return process.env['JWT_SECRET'];
}

/** The handshake's `auth` for this actor. */
export function buildAuth(actor: string): { actor: string } | { token: string } {
  const key = readSecret();
  return key === undefined ? { actor } : { token: signToken(actor, key) };
}

/** Headers for requests that only read, which any actor may send. */
export function buildReadHeaders(): Record<string, string> {
  const key = readSecret();
  return key === undefined ? {} : { Authorization: `Bearer ${signToken(READER, key)}` };
}

/** A JSON Web Token (RFC 7519) for this actor. */
function signToken(actor: string, key: string): string {
  const encode = (object: object): string => Buffer.from(JSON.stringify(object)).toString('base64url');
  const signed = `${encode(HEADER)}.${encode({ sub: actor })}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}
