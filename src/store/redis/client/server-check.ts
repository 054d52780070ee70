import { createHash } from 'node:crypto';
import type { RedisTarget } from '../../../config/redis-url.js';
import type { ServerConnection } from './server-connection.js';

/** It introduced sharded pub/sub. */
const OLDEST_MAJOR = 7;
const PROBE_SCRIPT = 'return ARGV[1]';
const NODE = {
  REDIS_URL: 'is a node of a cluster; use redis+cluster://',
  LOG_URL: 'is a node of a cluster; use a single server, or one that sentinels guard',
} as const;
const PROBE_SHA = createHash('sha1').update(PROBE_SCRIPT).digest('hex');

export interface ServerCheckOptions {
  /** The setting that names the servers. */
  readonly setting: 'REDIS_URL' | 'LOG_URL';
  readonly replicated: boolean;
  readonly warn: (message: string) => void;
}

/**
 * Checks at boot whether a server can keep the counts, and warns of how it may lose them.
 *
 * The least rights that a user needs, besides the commands of the scripts: `~tc:* &tc:* +ping +info +eval +evalsha
 * +ssubscribe +sunsubscribe +spublish`; with a database `+select`, with ACK=replicated `+wait`; in a cluster, on every node,
 * `+cluster|slots +asking`. With `+client|setname` the connections have names. CONFIG GET is not used, because it returns passwords.
 *
 * @throws Error, one line, with what would be right
 */
export async function checkServer(
  server: ServerConnection,
  kind: RedisTarget['kind'],
  { setting, replicated, warn }: ServerCheckOptions,
): Promise<void> {
  const reject = (reason: string): never => {
    throw new Error(`${server.name} ${reason}`);
  };
  const info = parseInfo(await server.sendCommand('info', []));
  const version = info.get('redis_version') ?? '';
  if (!(Number.parseInt(version, 10) >= OLDEST_MAJOR)) reject(`is Redis ${version}; 7.0 or later is needed`);
  const isNode = info.get('cluster_enabled') === '1';
  if (isNode && kind !== 'cluster') reject(NODE[setting]);
  if (!isNode && kind === 'cluster') reject('is not a node of a cluster; use redis://');
  if (info.get('role') !== 'master') {
    const primary = `${info.get('master_host') ?? '?'}:${info.get('master_port') ?? '?'}`;
    reject(`is a replica and takes no writes; its primary is ${primary}`);
  }
  const policy = info.get('maxmemory_policy') ?? '?';
  if (evictsCounts(policy)) reject(`has maxmemory-policy ${policy}, which evicts keys; set it to noeviction`);
  if (policy !== 'noeviction') {
    warn(`Redis ${server.name}: maxmemory-policy ${policy} evicts no counts: they have no time to live`);
  }
  if (replicated && countOnlineReplicas(info) === 0) reject('has no replica online, which ACK=replicated needs');
  await checkScripts(server, reject);
  warnAboutRestarts(server, info, warn);
}

/** Needs the right `+info`. */
export async function readEvictionPolicy(server: ServerConnection): Promise<string> {
  return parseInfo(await server.sendCommand('info', ['memory'])).get('maxmemory_policy') ?? '?';
}

/** The policies `volatile-…` evict only keys with a time to live, which no counts have. */
export function evictsCounts(policy: string): boolean {
  return policy !== 'noeviction' && !policy.startsWith('volatile-');
}

function parseInfo(reply: unknown): Map<string, string> {
  const info = new Map<string, string>();
  for (const line of String(reply).split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) info.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return info;
}

function countOnlineReplicas(info: ReadonlyMap<string, string>): number {
  return [...info].filter(([name, value]) => /^slave\d+$/.test(name) && value.includes('state=online')).length;
}

async function checkScripts(server: ServerConnection, reject: (reason: string) => never): Promise<void> {
  try {
    await server.sendCommand('eval', [PROBE_SCRIPT, 0, '']);
    await server.sendCommand('evalsha', [PROBE_SHA, 0, '']);
  } catch (error) {
    reject(`does not run scripts; permit EVAL and EVALSHA (${String(error)})`);
  }
}

function warnAboutRestarts(
  server: ServerConnection,
  info: ReadonlyMap<string, string>,
  warn: (message: string) => void,
): void {
  if (info.get('aof_enabled') === '1') return;
  warn(
    `Redis ${server.name}: a restart loses what was written since the last save, or everything if it never saves; set appendonly yes`,
  );
}
