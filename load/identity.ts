import { createHmac } from 'node:crypto';

const HEADER = { alg: 'HS256', typ: 'JWT' };

/** From the environment, not an option: command lines are seen by others, and options stand in reports. */
function secret(): string | undefined {
  return process.env['JWT_SECRET'];
}

/** The handshake's part that says who somebody is. */
export function handshakeOf(actor: string): { actor: string } | { token: string } {
  const key = secret();
  return key === undefined ? { actor } : { token: tokenOf(actor, key) };
}

/** The same over HTTP. */
export function headersOf(actor: string): Record<string, string> {
  const key = secret();
  return key === undefined ? {} : { Authorization: `Bearer ${tokenOf(actor, key)}` };
}

/** A JSON Web Token (RFC 7519) for this actor. */
function tokenOf(actor: string, key: string): string {
  const part = (object: object): string => Buffer.from(JSON.stringify(object)).toString('base64url');
  const signed = `${part(HEADER)}.${part({ sub: actor })}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}
