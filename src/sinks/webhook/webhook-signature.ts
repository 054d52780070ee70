import { createHash, createHmac } from 'node:crypto';

/** Characters of base64 that make an id: 156 bits. */
const ID_CHARS = 26;

/** The headers of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com), with a symmetric signature. */
export function signRequest(key: Buffer, id: string, timestampSeconds: number, body: string): Record<string, string> {
  const content = `${id}.${timestampSeconds}.${body}`;
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestampSeconds),
    'webhook-signature': `v1,${createHmac('sha256', key).update(content).digest('base64')}`,
  };
}

/** The id follows from the content, so a request that is repeated has the same id, even if another gateway repeats it. */
export function computeId(body: string): string {
  return `msg_${createHash('sha256').update(body).digest('base64url').slice(0, ID_CHARS)}`;
}
