import { isIPv6 } from 'node:net';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** `null` where the server requires no login. */
interface Login {
  readonly username: string | null;
  readonly password: string;
}

export interface RedisTarget {
  readonly kind: 'single' | 'sentinel' | 'cluster';
  /** One server; the sentinels; the nodes of the cluster to connect to first. */
  readonly addresses: readonly [Address, ...Address[]];
  /** The primary's name in the configuration of the sentinels; empty for other kinds. */
  readonly master: string;
  readonly login: Login | null;
  readonly sentinelLogin: Login | null;
  readonly tls: boolean;
  /** Number of the database; 0 in a cluster. */
  readonly database: number;
  /** In a cluster: reachable addresses of nodes, by the `host:port` that the cluster announces. */
  readonly natMap?: ReadonlyMap<string, Address>;
}

const REDIS_PORT = 6379;
const SENTINEL_PORT = 26379;

const REDIS_URL =
  /^redis(?<tls>s?)(?:\+(?<kind>sentinel|cluster))?:\/\/(?:(?<login>[^/?#]*)@)?(?<hosts>[^@/?#]*)(?:\/(?<path>[^?#]*))?(?:\?(?<query>[^#]*))?$/;
const HOST_PORT = /^(?:\[(?<v6>[^\]]+)\]|(?<name>[A-Za-z0-9_.-]+))(?::(?<port>\d{1,5}))?$/;
const DATABASE = /^\d{1,5}$/;
/** Sentinel's own rule for the names of primaries. */
const MASTER = /^[A-Za-z0-9_.-]+$/;
const FORMS = 'redis://host:port, redis+sentinel://host:port,host:port/master or redis+cluster://host:port,host:port';

/**
 * `redis[s]://[[user]:password@]host[:port][/database]`,
 * `redis[s]+sentinel://[[user]:password@]host[:port],…/master[/database][?sentinel_username=…&sentinel_password=…]`,
 * `redis[s]+cluster://[[user]:password@]host[:port],…`. `rediss` is TLS, with the sentinels too. What is special in a
 * name or a password is percent-encoded. The login is for the Redis servers.
 *
 * @throws Error whose message goes on from "REDIS_URL " and never holds a password.
 */
export function parseRedisUrl(text: string): RedisTarget {
  const groups = REDIS_URL.exec(text)?.groups;
  if (groups === undefined) throw new Error(`must be ${FORMS} (rediss for TLS; /, ?, # and @ in a password as %XX)`);
  const kind = parseKind(groups.kind);
  const { master, database } = parsePath(kind, groups.path ?? '');
  return {
    kind,
    addresses: parseAddresses(kind, groups.hosts!),
    master,
    login: parseLogin(groups.login),
    sentinelLogin: parseSentinelLogin(kind, groups.query ?? ''),
    tls: groups.tls === 's',
    database,
  };
}

/**
 * `announced:port=reachable:port,…`
 *
 * @throws Error whose message goes on from "REDIS_NAT_MAP ".
 */
export function parseNatMap(text: string): ReadonlyMap<string, Address> {
  const map = new Map<string, Address>();
  for (const pair of text.split(',')) {
    const [announced, reachable, ...more] = pair.trim().split('=');
    if (announced === undefined || reachable === undefined || more.length > 0) {
      throw new Error('must be announced:port=reachable:port pairs, such as 10.0.0.1:6379=redis.example:7001');
    }
    const key = formatAddress(parseAddress(announced, REDIS_PORT));
    if (map.has(key)) throw new Error(`names ${key} twice`);
    map.set(key, parseAddress(reachable, REDIS_PORT));
  }
  return map;
}

/** As it is written in addresses and logs: IPv6 in brackets. */
export function formatAddress({ host, port }: Address): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

function parseKind(text: string | undefined): RedisTarget['kind'] {
  return text === 'sentinel' || text === 'cluster' ? text : 'single';
}

function parseAddresses(kind: RedisTarget['kind'], text: string): [Address, ...Address[]] {
  const standard = kind === 'sentinel' ? SENTINEL_PORT : REDIS_PORT;
  const [first, ...others] = text.split(',').map((address) => parseAddress(address, standard));
  if (kind === 'single' && others.length > 0)
    throw new Error('names several hosts: use redis+sentinel:// or redis+cluster://, or one host');
  return [first!, ...others];
}

function parseAddress(text: string, standard: number): Address {
  const groups = HOST_PORT.exec(text)?.groups;
  const host = groups?.v6 ?? groups?.name;
  const port = Number(groups?.port ?? standard);
  if (host === undefined || (groups?.v6 !== undefined && !isIPv6(host)) || port < 1 || port > 65_535)
    // The message leaves out the text, because it may contain a password with an unescaped / or ?.
    throw new Error('has a host that is not name, name:port or [IPv6]:port with a port from 1 to 65535');
  return { host, port };
}

function parsePath(kind: RedisTarget['kind'], path: string): { master: string; database: number } {
  if (kind === 'cluster') {
    if (path !== '') throw new Error('names a database, which a cluster does not have: end after the hosts');
    return { master: '', database: 0 };
  }
  if (kind === 'single') return { master: '', database: parseDatabase(path) };
  const [master = '', database = '', ...more] = path.split('/');
  if (!MASTER.test(master) || more.length > 0)
    throw new Error('must name the primary as its sentinels do: redis+sentinel://host:port,host:port/master');
  return { master, database: parseDatabase(database) };
}

function parseDatabase(text: string): number {
  if (text === '') return 0;
  if (!DATABASE.test(text)) throw new Error('names a database that is not a number: end with /0, /1 and so on');
  return Number(text);
}

function parseLogin(text: string | undefined): Login | null {
  if (text === undefined || text === '' || text === ':') return null;
  const colon = text.indexOf(':');
  if (colon === -1) throw new Error('has a user without a password: write user:password@, or :password@');
  return login(decode(text.slice(0, colon)), decode(text.slice(colon + 1)));
}

function login(username: string, password: string): Login {
  if (password === '') throw new Error('has a user without a password: write user:password@, or :password@');
  return { username: username === '' ? null : username, password };
}

function parseSentinelLogin(kind: RedisTarget['kind'], query: string): Login | null {
  if (query === '') return null;
  if (kind !== 'sentinel') throw new Error('has parameters after ?, which only redis+sentinel:// has');
  let username = '';
  let password: string | undefined;
  for (const pair of query.split('&')) {
    const equals = pair.indexOf('=');
    const name = equals === -1 ? pair : pair.slice(0, equals);
    const value = equals === -1 ? '' : decode(pair.slice(equals + 1));
    if (name === 'sentinel_username') username = value;
    else if (name === 'sentinel_password') password = value;
    else throw new Error('has an unknown parameter after ?; expected sentinel_username or sentinel_password');
  }
  if (password === undefined) throw new Error('has sentinel_username without sentinel_password: give both');
  return login(username, password);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error('has a % in its login that is not followed by two hex digits: write it as %25');
  }
}
