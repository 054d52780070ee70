import { fileURLToPath } from 'node:url';
import { type NatsTarget, parseNatsTarget } from './nats-url.js';

/** A host on which nobody else can read requests in the clear. */
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;
/** Standard Webhooks: "At least 24 bytes (192 bits, 512 maximum)". */
const KEY_BYTES_MIN = 24;
const KEY_BYTES_MAX = 64;
const SECRET = /^(?:whsec_)?(?<base64>[A-Za-z0-9+/]+={0,2})$/;

/** A sink as logs and metrics name it: without its login, and without a query, which may have secrets, too. */
export function formatSinkUrl({ protocol, host, pathname }: URL): string {
  return `${protocol}//${host}${pathname}`;
}

/** @throws Error, one line for the operator */
export function checkWebhookUrl(url: URL): void {
  if (url.protocol === 'http:' && !LOOPBACK.test(url.hostname)) {
    fail(url, 'would send counts in the clear; use https, or http to this host alone');
  }
  if (url.hash !== '') fail(url, 'has a fragment after #, which is never sent; remove it');
}

/** @returns the path. @throws Error, one line for the operator */
export function parseFileUrl(url: URL): string {
  if (url.host !== '') fail(url, `names the host ${url.host}; write file:/// and an absolute path`);
  if (url.search !== '' || url.hash !== '') fail(url, 'has a ? or #; write %3F or %23 if the path has one');
  if (url.pathname.endsWith('/')) fail(url, 'names a directory; add the name of a file, such as counts.ndjson');
  try {
    return fileURLToPath(url);
  } catch {
    return fail(url, 'has a % that is not followed by two hex digits, or %2F; write % as %25');
  }
}

/** @throws Error, one line for the operator */
export function parseNatsUrl(url: URL): NatsTarget {
  try {
    return parseNatsTarget(url);
  } catch (error) {
    return fail(url, (error as Error).message);
  }
}

/**
 * The key with which webhooks are signed, serialized as in Standard Webhooks.
 * @throws Error whose message goes on from "SINK_SECRET " and never holds the secret
 */
export function parseSinkSecret(text: string): Buffer {
  const key = Buffer.from(SECRET.exec(text)?.groups?.['base64'] ?? '', 'base64');
  if (key.length >= KEY_BYTES_MIN && key.length <= KEY_BYTES_MAX) return key;
  throw new Error(
    `must be ${KEY_BYTES_MIN} to ${KEY_BYTES_MAX} random bytes in base64, with or without whsec_ before them. ` +
      'To make one: echo "whsec_$(openssl rand -base64 32)"',
  );
}

function fail(url: URL, problem: string): never {
  throw new Error(`SINK_URL ${formatSinkUrl(url)}: ${problem}`);
}
