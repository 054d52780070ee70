import { createHmac } from 'node:crypto';

/** A decimal int64, which gateways take whatever their `ACTOR_KEYS` is. */
const READER = '0';
const HEADER = { alg: 'HS256', typ: 'JWT' };

/** From the environment, not an option: command lines are seen by others, and options stand in reports. */
function secret(): string | undefined {
  return process.env['JWT_SECRET'];
}

/** The handshake's part that says who somebody is. */
export function buildAuth(actor: string): { actor: string } | { token: string } {
  const key = secret();
  return key === undefined ? { actor } : { token: tokenOf(actor, key) };
}

/** For requests that only read: any actor may. */
export function buildReadHeaders(): Record<string, string> {
  const key = secret();
  return key === undefined ? {} : { Authorization: `Bearer ${tokenOf(READER, key)}` };
}

/** A JSON Web Token (RFC 7519) for this actor. */
function tokenOf(actor: string, key: string): string {
  const part = (object: object): string => Buffer.from(JSON.stringify(object)).toString('base64url');
  const signed = `${part(HEADER)}.${part({ sub: actor })}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}
