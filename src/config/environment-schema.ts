import { isIP } from 'node:net';
import proxyaddr from 'proxy-addr';
import { z } from 'zod';
import { ACTOR_KEYS } from '../counters/ids.js';
import { Metrics } from '../counters/metrics.js';
import { UNNAMED_REGION } from '../counters/pn-counter.js';
import { parsePeers, REGION_PATTERN } from './peer-urls.js';
import { parseNatMap, parseRedisUrl } from './redis-url.js';

function integer(min: number, max: number) {
  const rule = `must be a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, rule)
    .transform(Number)
    .pipe(z.number().min(min, rule).max(max, rule));
}

const SECRET_MIN = 32;

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);

const origin = z
  .string()
  .refine(
    (text) => text === '*' || (URL.canParse(text) && new URL(text).origin === text && !text.includes('*')),
    'must be exact origins such as https://example.org (scheme and host, no path), or *',
  );

const ownOrigin = z
  .string()
  .refine(
    (text) => URL.canParse(text) && new URL(text).origin === text && !text.includes('*'),
    'must be exact origins such as https://live.example.org (scheme and host, no path)',
  );

const network = z
  .string()
  .refine(
    isNetwork,
    'must be addresses or networks such as 10.1.2.3 or 10.0.0.0/8, or loopback, linklocal, uniquelocal',
  );

/** Each setting once: the environment variable, the values it takes, its default as one would write it, and one line about it. */
export const ENVIRONMENT = z.object({
  HOST: z
    .string()
    .refine(isHost, 'must be an address of this host to listen on, such as 127.0.0.1')
    .prefault('127.0.0.1')
    .describe('Address to listen on; 0.0.0.0 for all'),
  PORT: integer(0, 65535).prefault('3000').describe('Port to listen on; 0 takes a free one and prints it'),
  OPS_PORT: integer(0, 65535)
    .optional()
    .describe('Port for /metrics, /docs and /v1/regions, which PORT then does not serve; 0 takes a free one'),
  KEEP_ALIVE_MS: integer(1_000, 3_600_000)
    .prefault('65000')
    .describe('How long a connection may wait for its next request, milliseconds'),
  DATA_DIR: z
    .string()
    .regex(/\S/, 'must be a path')
    .prefault('./data')
    .describe('Directory of the embedded store; one gateway a directory'),
  REDIS_URL: z
    .string()
    .transform(parsed(parseRedisUrl))
    .optional()
    .describe('Redis 7.0 or later instead of the embedded store: redis://, redis+sentinel:// or redis+cluster://'),
  REDIS_NAT_MAP: z
    .string()
    .transform(parsed(parseNatMap))
    .optional()
    .describe(
      'With redis+cluster://: where nodes are reached that announce other addresses, 10.0.0.1:6379=host:7001,…',
    ),
  ACK: z
    .enum(['committed', 'replicated'], 'must be committed or replicated')
    .prefault('committed')
    .describe('When an operation is acknowledged: committed, or replicated to a Redis replica'),
  WORKERS: integer(1, 256).prefault('1').describe('Gateways on this port; more than one needs REDIS_URL'),
  TICK_MS: integer(10, 60_000)
    .prefault('100')
    .describe('Least time between two updates of a post to a viewer, milliseconds'),
  FLUSH_MS: integer(0, 1_000).prefault('10').describe('Longest wait of an operation for its batch, milliseconds'),
  BUCKETS: integer(1, 4096).prefault('64').describe('Shards of the posts; fixed for the lifetime of the data'),
  ACTOR_KEYS: z
    .enum(ACTOR_KEYS, 'must be hash or int64')
    .prefault('hash')
    .describe('Actors have any name (hash), or are decimal int64 (int64); fixed for the lifetime of the data'),
  METRICS: z
    .string()
    .transform(parsed((text) => Metrics.parse(text)))
    .prefault('likes:toggle,views:tally')
    .describe('What is counted; more may be added at the end, e.g. …,shares:tally,saves:toggle'),
  ALLOWED_ORIGINS: list
    .pipe(z.array(origin))
    .prefault('')
    .describe('Origins of other pages that may connect, comma-separated, or *'),
  PUBLIC_URL: list
    .pipe(z.array(ownOrigin))
    .prefault('')
    .describe('Origins under which browsers reach this gateway; needed if it has a name'),
  JWT_SECRET: z
    .string()
    .min(
      SECRET_MIN,
      `must be ${SECRET_MIN} characters or more: HS256 needs a key of 256 bits (RFC 7518, section 3.2), and a shorter one can be guessed from any token. To make one: openssl rand -base64 48`,
    )
    .optional()
    .describe(
      'Verifies tokens by this secret of 32 characters or more (HS256/384/512); a token is then required to act',
    ),
  JWT_JWKS_URL: z
    .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
    .optional()
    .describe('Verifies tokens by the keys at this URL instead'),
  JWT_ISSUER: z.string().min(1).optional().describe('Required iss claim of tokens'),
  JWT_AUDIENCE: z.string().min(1).optional().describe('Required aud claim of tokens'),
  PRIVATE: z
    .enum(['true', 'false'], 'must be true or false')
    .prefault('false')
    .describe('With tokens: watching requires one, too'),
  MAX_OPS_PER_CONNECTION: integer(0, 1_000_000)
    .prefault('50')
    .describe('Operations a second of a connection; 0 lifts the limit'),
  MAX_OPS_PER_ADDRESS: integer(0, 1_000_000)
    .prefault('500')
    .describe('Operations a second of an address; 0 lifts the limit'),
  MAX_CONNECTIONS_PER_ADDRESS: integer(0, 1_000_000)
    .prefault('200')
    .describe('Sockets and event streams of an address; 0 lifts the limit'),
  MAX_POSTS_PER_CONNECTION: integer(1, 10_000).prefault('500').describe('Posts that one connection may watch'),
  MAX_NEW_POSTS_PER_ADDRESS: integer(0, 1_000_000)
    .prefault('300')
    .describe('Posts a minute that an address may be the first to act on; 0 lifts the limit'),
  MAX_NEW_ACTORS_PER_ADDRESS: integer(0, 1_000_000)
    .prefault('200')
    .describe('Without tokens: actors a minute that may like from an address for the first time; 0 lifts the limit'),
  POST_SECRET: z
    .string()
    .regex(/^[!-~]{32,256}$/, 'must be 32 to 256 visible ASCII characters')
    .optional()
    .describe('Only posts whose ids are signed with this secret exist; fixed for the lifetime of the data'),
  TRUST_PROXY: list
    .pipe(z.array(network))
    .prefault('')
    .describe('Addresses or networks of balancers whose X-Forwarded-For is believed'),
  REGION: z
    .string()
    .regex(REGION_PATTERN, 'must be a-z, then up to 15 of a-z 0-9 -')
    .prefault(UNNAMED_REGION)
    .describe('Name of this region'),
  PEERS: z.string().transform(parsed(parsePeers)).default([]).describe('The other regions: us=https://us.example,ap=…'),
  PEER_TOKEN: z
    .string()
    .regex(/^[!-~]{16,256}$/, 'must be 16 to 256 visible ASCII characters, the same in all regions')
    .optional()
    .describe('With peers: the secret that all regions share'),
  SHIP_MS: integer(10, 60_000)
    .prefault('100')
    .describe('Least time between two deliveries of changes to a peer, milliseconds'),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
      error: 'must be fatal, error, warn, info, debug, trace or silent',
    })
    .prefault('info')
    .describe('Least severe log level that is written'),
});

export type Environment = z.infer<typeof ENVIRONMENT>;

/** An address, or a name that can be one: what ends in a number is an address or nothing. */
function isHost(text: string): boolean {
  return isIP(text) !== 0 || (/^[a-z0-9_.-]{1,253}$/i.test(text) && !/(^|\.)\d+$/.test(text));
}

function isNetwork(text: string): boolean {
  try {
    proxyaddr.compile(text);
    return true;
  } catch {
    return false;
  }
}

/** Makes an error that `parse` throws an issue of the schema. */
function parsed<T>(parse: (text: string) => T) {
  return (text: string, context: z.RefinementCtx): T => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
      return z.NEVER;
    }
  };
}
