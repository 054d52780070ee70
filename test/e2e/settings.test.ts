import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { readSettings } from '../../src/config/settings.js';
import { closeClients, connect, expectOk } from '../support/clients.js';
import { type GatewayOptions, startGateway, stopAll } from '../support/gateway-process.js';

const STANDARD = 'likes:toggle,views:tally';
const PEER_TOKEN = '0123456789abcdef';

/** By variable: an invalid value, and a text in the error line on stderr. */
const BAD: readonly (readonly [string, string, string])[] = [
  ['HOST', '256.1.1.1', 'must be an address of this host'],
  ['HOST', 'two words', 'must be an address of this host'],
  ['HOST', 'http://127.0.0.1', 'must be an address of this host'],
  ['PORT', 'http', 'must be a whole number from 0 to 65535'],
  ['PORT', '65536', 'must be a whole number from 0 to 65535'],
  ['PORT', '-1', 'must be a whole number from 0 to 65535'],
  ['PORT', '3000.5', 'must be a whole number from 0 to 65535'],
  ['DATA_DIR', ' ', 'must be a path'],
  ['REDIS_URL', 'http://127.0.0.1', 'must be redis://host:port, redis+sentinel://'],
  ['REDIS_URL', 'redis://one,two', 'use redis+sentinel:// or redis+cluster://'],
  ['REDIS_URL', 'redis+sentinel://127.0.0.1', 'must name the primary as its sentinels do'],
  ['REDIS_URL', 'redis://ann@127.0.0.1', 'has a user without a password'],
  ['REDIS_NAT_MAP', '10.0.0.1:6379', 'must be announced:port=reachable:port pairs'],
  ['REDIS_NAT_MAP', '10.0.0.1:6379=a:0', 'with a port from 1 to 65535'],
  ['REDIS_NAT_MAP', '10.0.0.1=a:1,10.0.0.1:6379=a:2', 'names 10.0.0.1:6379 twice'],
  ['REDIS_NAT_MAP', '10.0.0.1:6379=a:1', 'needs REDIS_URL=redis+cluster://'],
  ['ACK', 'maybe', 'must be committed or replicated'],
  ['ACK', 'replicated', 'needs REDIS_URL'],
  ['WORKERS', '0', 'must be a whole number from 1 to 256'],
  ['WORKERS', '2', 'needs REDIS_URL'],
  ['PEERS', 'https://us.example:3000', 'must be name=URL pairs such as us=https://us.example:3000'],
  ['PEERS', 'US=https://us.example:3000', 'a name is a-z, then up to 15 of a-z 0-9 -'],
  ['PEERS', 'us=https://us.example:3000,', 'must be name=URL pairs'],
  ['PEERS', 'us=us.example:3000', 'must give us an http or https URL of host, port and BASE_PATH alone'],
  ['PEERS', 'us=https://us.example/path/', 'must give us an http or https URL of host, port and BASE_PATH alone'],
  ['PEERS', 'us=https://us.example/path?a', 'must give us an http or https URL of host, port and BASE_PATH alone'],
  ['PEERS', 'us=https://ann:secret@us.example', 'must give us an http or https URL of host, port and BASE_PATH alone'],
  ['PEERS', 'us=redis://us.example', 'must give us an http or https URL of host, port and BASE_PATH alone'],
  ['PEERS', 'us=https://us.example,us=https://ap.example', 'names a region twice'],
  ['PEERS', 'us=https://us.example,ap=https://us.example:443', 'has the same URL for two regions'],
  ['PEERS', Array.from({ length: 16 }, (_, i) => `r${i}=https://r${i}.example`).join(), 'at most 15 other regions'],
  ['PEERS', 'us=https://us.example:3000', 'needs REGION: set the name under which'],
  ['PEER_TOKEN', 'x'.repeat(15), 'must be 16 to 256 visible ASCII characters'],
  ['PEER_TOKEN', 'x'.repeat(257), 'must be 16 to 256 visible ASCII characters'],
  ['PEER_TOKEN', 'a token with spaces', 'must be 16 to 256 visible ASCII characters'],
  ['PEER_TOKEN', 'x'.repeat(16), 'has no effect without PEERS'],
  ['REPLICATION_INTERVAL_MS', '9', 'must be a whole number from 10 to 60000'],
  ['TICK_MS', '9', 'must be a whole number from 10 to 60000'],
  ['TICK_MS', '1e3', 'must be a whole number from 10 to 60000'],
  ['TICK_MS', 'NaN', 'must be a whole number from 10 to 60000'],
  ['FLUSH_MS', '1001', 'must be a whole number from 0 to 1000'],
  ['FLUSH_MS', '10ms', 'must be a whole number from 0 to 1000'],
  ['BUCKETS', '0', 'must be a whole number from 1 to 4096'],
  ['BUCKETS', '9007199254740993', 'must be a whole number from 1 to 4096'],
  ['ACTOR_KEYS', 'md5', 'must be hash or int64'],
  ['METRICS', 'views:tally,likes:toggle', 'must begin with likes:toggle,views:tally'],
  ['METRICS', `${STANDARD},Shares:tally`, 'a name is a-z, then up to 31 of a-z 0-9 _'],
  ['METRICS', `${STANDARD},shares:sum`, '"shares:sum": a kind is toggle, tally, unique, unique@WINDOW'],
  ['METRICS', `${STANDARD},reads:unique@25h`, '"reads:unique@25h": a window is from 1m to 24h'],
  ['METRICS', `${STANDARD},yes:choice,no:choice`, '"yes:choice": a choice names its group'],
  ['METRICS', `${STANDARD},yes:choice@vote`, '"yes" is the only option of the group vote: add another'],
  [
    'METRICS',
    [STANDARD, ...Array.from({ length: 9 }, (_, i) => `m${i}:choice@vote`)].join(),
    'at most 8 options of the group vote',
  ],
  ['METRICS', `${STANDARD},live:tally`, 'is the name of another field'],
  ['METRICS', `${STANDARD},shares:tally,shares:toggle`, 'names a metric twice'],
  ['METRICS', [STANDARD, ...Array.from({ length: 15 }, (_, i) => `m${i}:tally`)].join(), 'may name at most 16 metrics'],
  ['ALLOWED_ORIGINS', 'null,https://example.org/', 'has the entry https://example.org/, which no browser sends: write'],
  ['PUBLIC_URL', '*', 'must be exact origins such as https://live.example.org'],
  ['PUBLIC_URL', 'live.example.org', 'must be exact origins such as https://live.example.org'],
  ['JWT_SECRET', ' ', 'must be 32 characters or more'],
  ['JWT_SECRET', 'x'.repeat(31), 'HS256 needs a key of 256 bits (RFC 7518, section 3.2)'],
  ['JWT_SECRET', 'secret', 'To make one: openssl rand -base64 48'],
  ['JWT_JWKS_URL', 'file:///etc/keys.json', 'must be an http or https URL'],
  ['JWT_ISSUER', 'us', 'JWT_SECRET or JWT_JWKS_URL'],
  ['JWT_AUDIENCE', 'counts', 'JWT_SECRET or JWT_JWKS_URL'],
  ['JWT_ACTOR_CLAIM', 'user_id', 'JWT_SECRET or JWT_JWKS_URL'],
  ['JWT_CLOCK_TOLERANCE_S', '301', 'must be a whole number from 0 to 300'],
  ['REQUIRE_TOKEN_TO_READ', 'true', 'JWT_SECRET or JWT_JWKS_URL'],
  ['REQUIRE_TOKEN_TO_READ', 'yes', 'must be true or false'],
  ['MAX_OPS_PER_CONNECTION', '-50', 'must be a whole number from 0 to 1000000'],
  ['MAX_OPS_PER_ADDRESS', 'unlimited', 'must be a whole number from 0 to 1000000'],
  ['MAX_CONNECTIONS_PER_ADDRESS', 'Infinity', 'must be a whole number from 0 to 1000000'],
  ['MAX_POSTS_PER_CONNECTION', '0', 'must be a whole number from 1 to 10000'],
  ['TRUST_PROXY', 'balancer.example', 'must be addresses or networks'],
  ['TRUST_PROXY', '10.0.0.0/33', 'must be addresses or networks'],
  ['REGION', 'EU-West', 'must be a-z, then up to 15 of a-z 0-9 -'],
  [
    'SINK_URL',
    'mysql://127.0.0.1/app',
    'must be URLs, comma-separated: postgres://user:password@host/database, nats://host',
  ],
  ['SINK_URL', 'postgres:app', 'must be URLs, comma-separated: postgres://'],
  ['SINK_URL', 'file:///counts,', 'must be URLs, comma-separated: postgres://'],
  ['SINK_URL', 'nats://one,nats://one', 'names a sink twice'],
  ['SINK_URL', Array.from({ length: 9 }, (_, i) => `nats://n${i}`).join(), 'may name at most 8 sinks'],
  ['SINK_URL', 'nats://ann:50%@127.0.0.1', 'has a % in its login that is not followed by two hex digits'],
  ['LOG_URL', 'nats+tls://127.0.0.1', 'has to end with ?stream= and the name of a stream'],
  ['LOG_URL', 'kafka://127.0.0.1', 'must be redis://host:port or redis+sentinel://'],
  ['LOG_URL', 'redis+cluster://127.0.0.1', 'names a cluster, and a log is on one server'],
  ['LOG_MAX', '999', 'must be a whole number from 1000 to 100000000'],
  ['LOG_MS', '9', 'must be a whole number from 10 to 60000'],
  ['LOG_KEEP_S', '86401', 'must be a whole number from 10 to 86400'],
  ['SINK_MS', '99', 'must be a whole number from 100 to 60000'],
  ['SINK_URL', 'https://example.org/counts', 'with a webhook needs SINK_SECRET: make one with echo'],
  ['SINK_SECRET', 'too short', 'must be 24 to 64 random bytes in base64'],
  ['SINK_MEMBERS', 'true', 'needs a PostgreSQL sink'],
  ['SINK_SECRET', 'x'.repeat(32), 'has no effect without a webhook: add its https URL to SINK_URL'],
  ['ADMIN_TOKEN', 'x'.repeat(15), 'must be 16 to 256 visible ASCII characters'],
  ['ADMIN_TOKEN', 'a token with spaces', 'must be 16 to 256 visible ASCII characters'],
  ['LOG_LEVEL', 'loud', 'must be fatal, error, warn, info, debug, trace or silent'],
];

/** An empty setting equals an unset one. */
const EMPTY = [
  'TICK_MS',
  'METRICS',
  'REDIS_URL',
  'PEERS',
  'PEER_TOKEN',
  'JWT_SECRET',
  'REQUIRE_TOKEN_TO_READ',
  'TRUST_PROXY',
  'LOG_LEVEL',
];

afterEach(closeClients);

afterAll(stopAll);

/** The stderr of a gateway that ends with exit code 1 before it listens, and writes nothing else. */
async function readFailure(env: Record<string, string>, options?: GatewayOptions): Promise<string> {
  const failure = await startGateway({ LOG_LEVEL: 'silent', ...env }, options).then(
    ({ url }) => `it listens on ${url}`,
    (error: unknown) => (error as Error).message,
  );
  const [first, ...lines] = failure.split('\n');
  expect(first).toBe('the gateway ended before it listened, by exit code 1');
  return lines.join('\n');
}

async function listening(env: Record<string, string>): Promise<Record<string, unknown>> {
  const { log } = await startGateway(env);
  return JSON.parse(log.find((line) => line.includes('"listening"'))!) as Record<string, unknown>;
}

describe('an invalid setting', () => {
  it.each(BAD)('%s=%s is rejected with a line that names the setting and the rule', (name, value, message) => {
    const line = new RegExp(`^[^\\n]*\\b${name}\\b[^\\n]*$`);
    expect(() => readSettings({ [name]: value })).toThrow(line);
    expect(() => readSettings({ [name]: value })).toThrow(message);
  });

  it('a gateway with an invalid setting ends with exit code 1 and one line', async () => {
    const [port, directory, redis, log] = await Promise.all([
      readFailure({ PORT: 'http' }),
      readFailure({ DATA_DIR: '/dev/null/data' }),
      // The 10 s in which it tries to connect pass in one.
      readFailure({ REDIS_URL: 'redis+cluster://127.0.0.1:1' }, { timeScale: 0.1 }),
      readFailure({ LOG_URL: 'redis://127.0.0.1:1' }, { timeScale: 0.1 }),
    ]);
    expect(port).toMatch(/^PORT [^\n]*must be a whole number from 0 to 65535[^\n]*$/);
    expect(directory).toMatch(/^DATA_DIR [^\n]*not a directory[^\n]*$/);
    expect(redis).toMatch(/^REDIS_URL [^\n]*could not connect[^\n]*$/);
    expect(log).toMatch(/^LOG_URL [^\n]*could not connect[^\n]*$/);
  });

  it('the error about REDIS_URL does not repeat a password that has to be encoded', () => {
    expect(() => readSettings({ REDIS_URL: 'redis://:pa/ss@127.0.0.1' })).toThrow(/^REDIS_URL (?!.*pa\/?ss)/);
  });

  it('REDIS_URL allows ACK=replicated and WORKERS', () => {
    const REDIS_URL = 'redis://127.0.0.1';
    expect(readSettings({ REDIS_URL, ACK: 'replicated', WORKERS: '2' })).toMatchObject({
      redis: { kind: 'single', addresses: [{ host: '127.0.0.1', port: 6379 }] },
      ack: 'replicated',
      workers: 2,
    });
  });

  it.each([
    ['no PEER_TOKEN', { REGION: 'eu', PEERS: 'us=https://us.example' }, /^PEERS needs PEER_TOKEN/],
    ['the own name', { REGION: 'eu', PEERS: 'eu=https://eu.example', PEER_TOKEN }, /^PEERS names eu, .*own REGION/],
    [
      'a name like the own',
      { REGION: 'eu', PEERS: 'r240=https://r.example', PEER_TOKEN },
      /^PEERS eu and r240 have the same region number, .*rename one of them$/,
    ],
    [
      'names like each other',
      { REGION: 'eu', PEERS: 'us=https://us.example,us248=https://r.example', PEER_TOKEN },
      /^PEERS us and us248 have the same region number, .*rename one of them$/,
    ],
  ])('regions with %s are rejected', (_what, env, message) => {
    expect(() => readSettings(env)).toThrow(message);
  });

  it('errors about settings do not repeat passwords and tokens', () => {
    const secrets = [
      { PEER_TOKEN: 'a secret\n' },
      { JWT_SECRET: 'a secret\n' },
      { ADMIN_TOKEN: 'a secret\n' },
      { SINK_SECRET: 'a secret\n' },
    ];
    const urls = [{ PEERS: 'us=https://ann:secret@us.example' }, { SINK_URL: 'mysql://ann:secret@db.example/app' }];
    for (const env of [...urls, ...secrets]) {
      expect(() => readSettings(env)).toThrow(/^(?![\s\S]*secret@|[\s\S]*a secret\n)/);
    }
  });

  it('JWT_SECRET and JWT_JWKS_URL exclude each other', () => {
    expect(() => readSettings({ JWT_SECRET: 'x'.repeat(32), JWT_JWKS_URL: 'https://example.org/keys.json' })).toThrow(
      'JWT_SECRET and JWT_JWKS_URL exclude each other: set the one that your tokens are signed with',
    );
  });

  it('a gateway does not start with data that is in use or was made with other BUCKETS', async () => {
    const gateway = await startGateway();
    const DATA_DIR = gateway.dataDir;
    expect(await readFailure({ DATA_DIR })).toMatch(/^DATA_DIR .+ in use by another process;.+$/);
    await gateway.kill('SIGTERM');
    expect(await readFailure({ DATA_DIR, BUCKETS: '32' })).toMatch(/^DATA_DIR .+ made with BUCKETS=64.+$/);
  });
});

describe('valid settings', () => {
  it('SINK_URL names several sinks', () => {
    const SINK_SECRET = `whsec_${Buffer.alloc(24).toString('base64')}`;
    const settings = readSettings({
      SINK_URL: 'postgres://ann:s%2Cecret@db.example/app, https://example.org/counts',
      SINK_SECRET,
    });
    expect(settings).toMatchObject({ sinkIntervalMs: 1_000, sinkSecret: Buffer.alloc(24), adminToken: null });
    expect(settings.sinkUrls.map(({ protocol, hostname, password }) => [protocol, hostname, password])).toEqual([
      ['postgres:', 'db.example', 's%2Cecret'],
      ['https:', 'example.org', ''],
    ]);
  });

  it('PEERS and the settings of regions are parsed', () => {
    const PEERS = 'us=https://us.example, ap=http://127.0.0.1:3000/';
    const settings = readSettings({ REGION: 'eu', PEERS, PEER_TOKEN, REPLICATION_INTERVAL_MS: '250' });
    expect(settings).toMatchObject({ region: 'eu', peerToken: PEER_TOKEN, replicationIntervalMs: 250 });
    expect(settings.peers.map(({ region, url }) => [region, url.origin])).toEqual([
      ['us', 'https://us.example'],
      ['ap', 'http://127.0.0.1:3000'],
    ]);
    expect(readSettings({})).toMatchObject({ region: 'local', peers: [], peerToken: '', replicationIntervalMs: 100 });
  });

  it('empty settings have their defaults, and PORT=0 takes a free port, which is logged', async () => {
    const record = await listening(Object.fromEntries(EMPTY.map((name) => [name, ''])));
    const { url } = record as { url: string };
    expect(record).toMatchObject({ level: 30, msg: 'listening' });
    expect(new URL(url)).toMatchObject({ hostname: '127.0.0.1' });
    expect(Number(new URL(url).port)).toBeGreaterThan(1023);
    const answer = expectOk(await connect(url).emitWithAck('subscribe', { posts: ['a'] }));
    expect(answer).toMatchObject({
      tickMs: 100,
      counts: [{ post: 'a', e: expect.stringMatching(/^local\./) as unknown }],
    });
    expect(await connect(url).emitWithAck('like', { post: 'a' })).toMatchObject({ ok: true, applied: true });
    expect(Object.keys(answer.counts[0]!).sort()).toEqual(['e', 'likes', 'live', 'mine', 'post', 'v', 'views']);
  });

  it('settings have their effects, even at their limits', async () => {
    const { url } = (await listening({
      ...{
        TICK_MS: '60000',
        FLUSH_MS: '0',
        BUCKETS: '1',
        REGION: 'eu',
        LOG_LEVEL: 'trace',
        ACK: 'committed',
        WORKERS: '1',
      },
      ...{ METRICS: `${STANDARD}, saves:toggle ,shares:tally`, MAX_POSTS_PER_CONNECTION: '1' },
      ...{ ALLOWED_ORIGINS: 'https://example.org, http://localhost:8080', TRUST_PROXY: 'loopback,10.0.0.0/8,::1' },
    })) as { url: string };
    const socket = connect(url, {}, { extraHeaders: { Origin: 'http://localhost:8080' } });
    const answer = expectOk(await socket.emitWithAck('subscribe', { posts: ['a'] }));
    expect(answer).toMatchObject({
      tickMs: 60_000,
      counts: [{ e: expect.stringMatching(/^eu\./) as unknown, likes: 0, views: 0, saves: 0, shares: 0 }],
    });
    expect(await socket.emitWithAck('subscribe', { posts: ['a', 'b'] })).toMatchObject({
      error: { code: 'TOO_MANY_POSTS' },
    });
  });
});
