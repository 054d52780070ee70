import { withClient, type RedisServer, startSentinel } from './redis-server.js';
import { until } from './until.js';

/** Sentinels that guard a primary and its replicas. */
export interface Sentinels {
  /** redis+sentinel://h:p,h:p,h:p/name */
  readonly url: string;
  readonly sentinels: readonly RedisServer[];
  /** Whom the first sentinel that answers takes for the primary. */
  readPrimary(): Promise<{ host: string; port: number }>;
  /** Resolves when every sentinel has found this many replicas of the present primary, and all of them well. */
  untilHealthy(replicas: number): Promise<void>;
}

export interface SentinelOptions {
  readonly count?: number;
  /** What they call the primary. */
  readonly name?: string;
  /** How long a server must be silent to be taken for dead; it is pinged every 400 ms. */
  readonly downAfterMs?: number;
  /** How long a failover may take before another one is tried. */
  readonly failoverTimeoutMs?: number;
}
/**
 * How often they look around, in ms. Of the defaults, INFO 10,000 and PUBLISH 2,000 make a test wait for nothing else;
 * PING 1,000 would leave one ping till a server is taken for dead, so that one that is a little late is, and a new primary
 * at once. Five times PING must be more than the second between two INFOs of a replica whose primary is dead: one that was
 * not heard of for longer is not promoted, and the failover is repeated only after twice its timeout.
 */
const LOOK_AROUND = ['INFO-PERIOD', 500, 'PUBLISH-PERIOD', 200, 'PING-PERIOD', 400];

/**
 * Starts sentinels, a majority of which must agree, and resolves when each knows the others and all replicas.
 * A primary that keeps nothing on disk and is back before it is taken for dead empties its replicas: kill it, and restart
 * it only when `readPrimary` names another one.
 */
export async function startSentinels(primary: RedisServer, options: SentinelOptions = {}): Promise<Sentinels> {
  const { count = 3, name = 'counts', downAfterMs = 1_000, failoverTimeoutMs = 3_000 } = options;
  const quorum = Math.floor(count / 2) + 1;
  const config = [
    `sentinel monitor ${name} ${primary.host} ${primary.port} ${quorum}`,
    `sentinel down-after-milliseconds ${name} ${downAfterMs}`,
    `sentinel failover-timeout ${name} ${failoverTimeoutMs}`,
  ];
  const sentinels = await Promise.all(Array.from({ length: count }, () => startSentinel(config)));
  const lookAround = (sentinel: RedisServer): Promise<unknown> =>
    withClient(sentinel, (client) => client.call('SENTINEL', 'DEBUG', ...LOOK_AROUND));
  await Promise.all(sentinels.map(lookAround));
  const replicas = await replicasOf(primary);
  await Promise.all(sentinels.map((sentinel) => untilKnows(sentinel, name, replicas, count - 1)));
  return {
    url: `redis+sentinel://${sentinels.map(({ host, port }) => `${host}:${port}`).join(',')}/${name}`,
    sentinels,
    readPrimary: () => primaryKnownTo(sentinels, name),
    async untilHealthy(replicas) {
      await Promise.all(sentinels.map((sentinel) => untilFindsWell(sentinel, name, replicas)));
    },
  };
}

async function replicasOf(primary: RedisServer): Promise<number> {
  const info = await withClient(primary, (client) => client.info('replication'));
  return Number(/^connected_slaves:(\d+)/m.exec(info)![1]);
}

async function untilKnows(sentinel: RedisServer, name: string, replicas: number, others: number): Promise<void> {
  await withClient(sentinel, async (client) => {
    await until(async () => {
      const known = pairs(await client.call('SENTINEL', 'MASTER', name));
      return (
        known.get('flags') === 'master' &&
        Number(known.get('num-slaves')) === replicas &&
        Number(known.get('num-other-sentinels')) === others
      );
    }, `the sentinel ${sentinel.url} knows ${replicas} replicas and ${others} other sentinels`);
  });
}

async function untilFindsWell(sentinel: RedisServer, name: string, replicas: number): Promise<void> {
  await withClient(sentinel, async (client) => {
    await until(async () => {
      const primary = pairs(await client.call('SENTINEL', 'MASTER', name));
      const found = ((await client.call('SENTINEL', 'REPLICAS', name)) as unknown[]).map(pairs);
      const well = found.filter((replica) => {
        const follows = replica.get('master-port') === primary.get('port');
        return follows && replica.get('flags') === 'slave' && replica.get('master-link-status') === 'ok';
      });
      return primary.get('flags') === 'master' && well.length === replicas;
    }, `the sentinel ${sentinel.url} finds ${replicas} replicas well`);
  });
}

async function primaryKnownTo(
  sentinels: readonly RedisServer[],
  name: string,
): Promise<{ host: string; port: number }> {
  const answers = sentinels.map((sentinel) =>
    withClient(sentinel, (client) => client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)),
  );
  const [host, port] = (await Promise.any(answers)) as [string, string];
  return { host, port: Number(port) };
}

/** The answer [name, value, name, value, …]. */
function pairs(answer: unknown): Map<string, string> {
  const list = answer as string[];
  return new Map(list.flatMap((name, i) => (i % 2 === 0 ? [[name, list[i + 1]!] as const] : [])));
}
