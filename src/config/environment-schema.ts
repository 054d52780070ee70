import { z } from 'zod';
import { METRIC_NAME } from '../counters/metrics.js';
import { UNNAMED_REGION } from '../counters/pn-counter.js';
import { CLOCK_TOLERANCE_MAX_S } from './jwt-settings.js';
import { COUNTING } from './counting-settings.js';
import { LOG } from './log-settings.js';
import { parseOriginList } from './origin-list.js';
import { parsePeers, REGION_PATTERN } from './peer-urls.js';
import { parseNatMap, parseRedisUrl } from './redis-url.js';
import { optional, setting, type SettingGroup } from './setting-group.js';
import {
  integer,
  isBasePath,
  isHost,
  isNetwork,
  isOrigin,
  list,
  matching,
  oneOf,
  parsed,
  text,
} from './setting-values.js';
import { parseSinkUrls } from './sink-url-list.js';
import { parseSinkSecret } from './sink-urls.js';

/** HS256 needs a key of 256 bits; a character of base64 has 6, one of ordinary text about 8. */
const JWT_SECRET_MIN = 32;

const SECRET_RULE = `must be ${JWT_SECRET_MIN} characters or more: HS256 needs a key of 256 bits (RFC 7518, section 3.2), and a shorter one can be guessed from any token. To make one: openssl rand -base64 48`;

const NETWORK = {
  title: 'Network',
  settings: {
    HOST: setting(
      text(isHost, 'an address of this host to listen on, such as 127.0.0.1'),
      '127.0.0.1',
      'Address to listen on; 0.0.0.0 for all',
    ),
    PORT: setting(integer(0, 65_535), '3000', 'Port to listen on; 0 takes a free one and prints it'),
    BASE_PATH: optional(
      text(isBasePath, 'a path such as /live: it begins with /, does not end with one, and has no . or .. between two'),
      'Path below which PORT serves everything, for a gateway that shares its host with other programs',
    ),
    OPS_PORT: optional(
      integer(0, 65_535),
      'Port for /metrics, /docs, /admin and /v1/regions, which PORT then does not serve; 0 takes a free one',
    ),
    KEEP_ALIVE_MS: setting(
      integer(1_000, 3_600_000, 'ms'),
      '65000',
      'How long a connection may wait for its next HTTP request',
    ),
    TRUST_PROXY: setting(
      list(isNetwork, 'addresses or networks such as 10.1.2.3 or 10.0.0.0/8, or loopback, linklocal, uniquelocal'),
      '',
      'Balancers whose X-Forwarded-For the gateway believes, comma-separated',
    ),
    WORKERS: setting(integer(1, 256), '1', 'Gateways on this port of this machine; more than one needs REDIS_URL'),
    LOG_LEVEL: setting(
      oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
      'info',
      'Least severe level in the log: JSON lines, or readable text on a terminal',
    ),
  },
  notes: [
    'In a container set `HOST=0.0.0.0`.',
    '`BASE_PATH` is for proxies that leave paths as they are ([deploy.md](deploy.md#under-a-path)).',
    '`KEEP_ALIVE_MS` must be longer than balancers keep connections ([deploy.md](deploy.md#balancers)).',
    'Behind a balancer on the same host set `TRUST_PROXY=loopback`: limits by address exempt loopback.',
    '[deploy.md](deploy.md#restrict-paths) lists which port serves which path.',
  ],
} satisfies SettingGroup;

const STORE = {
  title: 'Store',
  settings: {
    DATA_DIR: setting(
      matching(/\S/, 'a path'),
      './data',
      'Directory of the embedded store; each gateway needs its own',
    ),
    REDIS_URL: optional(
      parsed(parseRedisUrl, 'a URL, as below'),
      'Redis 7.0 or later instead of the embedded store: redis://, redis+sentinel:// or redis+cluster://',
    ),
    REDIS_NAT_MAP: optional(
      parsed(parseNatMap, '`announced:port=reachable:port,…`'),
      'With redis+cluster://: where to reach nodes that announce other addresses, 10.0.0.1:6379=redis.example:7001,…',
    ),
    ACK: setting(
      oneOf('committed', 'replicated'),
      'committed',
      'When operations are acknowledged: after their commit, or after a Redis replica has them, too',
    ),
    FLUSH_MS: setting(integer(0, 1_000, 'ms'), '10', 'Longest time that an operation waits for its batch'),
  },
  notes: [
    '`REDIS_URL` is `redis://[user:password@]host:port[/database]` (one server), `redis+sentinel://h:p,h:p/master` or `redis+cluster://h:p,h:p`; with TLS `rediss…`.',
    '`ACK=committed`: the store has the operation. The embedded store has it on disk; Redis has it in memory, and on disk as its `appendfsync` says.',
    '`ACK=replicated`: one Redis replica has the operation, too (`WAIT 1`).',
  ],
} satisfies SettingGroup;

const ACCESS = {
  title: 'Access',
  settings: {
    PUBLIC_URL: setting(
      list(isOrigin, 'exact origins such as https://live.example.org (scheme and host, no path)'),
      '',
      'Origins under which browsers reach this gateway, comma-separated; required if it has a name',
    ),
    ALLOWED_ORIGINS: setting(
      parsed(parseOriginList, 'origins such as https://example.org, https://*.example.org, app://shop or null; or *'),
      '',
      'Origins of other pages and apps that may connect, comma-separated; * for all',
    ),
    JWT_SECRET: optional(
      z
        .string()
        .min(JWT_SECRET_MIN, SECRET_RULE)
        .meta({ values: `${JWT_SECRET_MIN} characters or more` }),
      'Verifies tokens by this secret (HS256, HS384, HS512); writes then require a token',
    ),
    JWT_JWKS_URL: optional(
      z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).meta({ values: 'an http or https URL' }),
      'Verifies tokens by the keys at this URL; writes then require a token',
    ),
    JWT_ISSUER: optional(z.string().min(1).meta({ values: 'text' }), 'Required iss claim of tokens'),
    JWT_AUDIENCE: optional(z.string().min(1).meta({ values: 'text' }), 'Required aud claim of tokens'),
    JWT_ACTOR_CLAIM: setting(
      z.string().min(1).meta({ values: 'text' }),
      'sub',
      'The claim of tokens that names the actor, such as user_id or https://example.org/uid',
    ),
    JWT_CLOCK_TOLERANCE_S: setting(
      integer(0, CLOCK_TOLERANCE_MAX_S, 's'),
      '5',
      'How far the clock of the issuer of tokens may differ from that of the gateway',
    ),
    REQUIRE_TOKEN_TO_READ: setting(
      oneOf('true', 'false'),
      'false',
      'With tokens: reading and watching require one, too',
    ),
    GUEST_METRICS: setting(
      list((name) => METRIC_NAME.test(name), 'names of metrics, such as views'),
      '',
      'With tokens: metrics that clients without one may add to, comma-separated',
    ),
    ADMIN_TOKEN: optional(
      matching(/^[!-~]{16,256}$/, '16 to 256 visible ASCII characters'),
      'The secret that requests to /admin need; without it there are none',
    ),
  },
  notes: [
    'The `sub` of a token is the actor, or the claim of `JWT_ACTOR_CLAIM`. Without tokens, actor names are not verified.',
    'To make a secret: `openssl rand -base64 48`.',
    '[protocol.md](protocol.md#guests) describes what guests may do.',
    'A rejected origin is in the log with the entry of `ALLOWED_ORIGINS` that accepts it; [security.md](security.md#origins) has the forms.',
    'While `JWT_JWKS_URL` is down, cached keys verify tokens for a day.',
    '[operations.md](operations.md#administer-a-gateway) lists the requests and commands that need `ADMIN_TOKEN`.',
  ],
} satisfies SettingGroup;

const LIMITS = {
  title: 'Limits',
  settings: {
    MAX_OPS_PER_CONNECTION: setting(integer(0, 1_000_000), '50', 'Operations a second of a connection; 0: no limit'),
    MAX_OPS_PER_ADDRESS: setting(integer(0, 1_000_000), '500', 'Operations a second of an address; 0: no limit'),
    MAX_CONNECTIONS_PER_ADDRESS: setting(
      integer(0, 1_000_000),
      '200',
      'Sockets and event streams of an address; 0: no limit',
    ),
    MAX_POSTS_PER_CONNECTION: setting(
      integer(1, 10_000),
      '500',
      'Posts that a connection may watch, or a request may name',
    ),
    MAX_NEW_POSTS_PER_ADDRESS: setting(
      integer(0, 1_000_000),
      '300',
      'Posts a minute that an address may be the first to act on; 0: no limit',
    ),
    MAX_NEW_ACTORS_PER_ADDRESS: setting(
      integer(0, 1_000_000),
      '200',
      'Actors without a token that may like, or count in a unique, from an address for the first time, a minute; 0: no limit',
    ),
  },
  notes: [
    'Each rate has a burst of the same size: 50 operations a second, and 50 at once.',
    'An `add` counts as one operation for each 20 that it adds.',
    '`MAX_OPS_PER_CONNECTION=0` also removes the limit on the messages of a connection.',
    '`MAX_OPS_PER_ADDRESS=0` also removes the limits on messages, reads and sessions of an address.',
    '`MAX_CONNECTIONS_PER_ADDRESS=0` also removes the limits on TCP connections and on looked-up posts.',
    'Limits by address exempt loopback. [operations.md](operations.md#limits-by-address) describes them.',
  ],
} satisfies SettingGroup;

const REGIONS = {
  title: 'Regions',
  settings: {
    REGION: setting(
      matching(REGION_PATTERN, 'a-z, then up to 15 of a-z 0-9 -'),
      UNNAMED_REGION,
      'Name under which this gateway counts',
    ),
    PEERS: optional(
      parsed(parsePeers, '`name=URL,…`, at most 15'),
      'The other regions and their URLs: us=https://us.example,ap=…',
    ),
    PEER_TOKEN: optional(
      matching(/^[!-~]{16,256}$/, '16 to 256 visible ASCII characters, the same in all regions'),
      'With PEERS: the secret that all regions share',
    ),
    REPLICATION_INTERVAL_MS: setting(
      integer(10, 60_000, 'ms'),
      '100',
      'Least time between two pushes of changes to a peer',
    ),
  },
  notes: ['[regions.md](regions.md) describes how to set regions up.'],
} satisfies SettingGroup;

const SINKS = {
  title: 'Sinks',
  settings: {
    SINK_URL: optional(
      parsed(parseSinkUrls, 'URLs, comma-separated'),
      'Systems that get a copy of the counts: postgres://…, nats://…, https://… or file:///…',
    ),
    SINK_MS: setting(integer(100, 60_000, 'ms'), '1000', 'Least time between two writes to a sink'),
    SINK_MEMBERS: setting(
      oneOf('true', 'false'),
      'false',
      'With PostgreSQL: it also gets who has which toggle on, such as who likes a post',
    ),
    SINK_SECRET: optional(
      parsed(parseSinkSecret, '24 to 64 random bytes in base64, with or without whsec_ before them'),
      'The key that signs requests to webhooks',
    ),
  },
  notes: [
    'To make a secret: `echo "whsec_$(openssl rand -base64 32)"`.',
    '[sinks.md](sinks.md) describes the sinks, their tables and what happens when one of them is down.',
    'Set `SINK_URL` on all gateways that may feed the sinks; one of them feeds a sink at a time.',
    '`SINK_MEMBERS` has to be the same on all of these.',
  ],
} satisfies SettingGroup;

export const SETTING_GROUPS: readonly SettingGroup[] = [NETWORK, STORE, COUNTING, ACCESS, LIMITS, REGIONS, SINKS, LOG];

/** Declares each setting once: variable, valid values, default, and one line about it. */
export const ENVIRONMENT = z.object({
  ...NETWORK.settings,
  ...STORE.settings,
  ...COUNTING.settings,
  ...ACCESS.settings,
  ...LIMITS.settings,
  ...REGIONS.settings,
  ...SINKS.settings,
  ...LOG.settings,
});

export type Environment = z.output<typeof ENVIRONMENT>;
