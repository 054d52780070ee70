import { withClient, type RedisServer, startSentinel } from './redis-server.js';
import { until } from './until.js';

/** A Sentinel deployment for a primary and its replicas. */
export interface Sentinels {
  /** `redis+sentinel://h:p,h:p,h:p/name` */
  readonly url: string;
  readonly sentinels: readonly RedisServer[];
  /** Resolves with the primary of the first sentinel that answers. */
  readPrimary(): Promise<{ host: string; port: number }>;
  /** Resolves when every sentinel has this many replicas of the current primary, all healthy. */
  untilHealthy(replicas: number): Promise<void>;
}

export interface SentinelOptions {
  readonly count?: number;
  /** Name of the primary in Sentinel. */
  readonly name?: string;
  /** Time without a reply after which a server counts as down; it is pinged every 400 ms. */
  readonly downAfterMs?: number;
  /** Time after which a failover is tried again. */
  readonly failoverTimeoutMs?: number;
}
/**
 * Periods of Sentinel's checks, in ms. With the defaults of 10,000 (INFO) and 2,000 (PUBLISH) tests would mostly wait.
 * With 1,000 (PING) a server would count as down after one late reply, also a new primary. Five times PING must exceed
 * the second between two INFOs of a replica whose primary is down: Sentinel does not promote a replica without a reply for
 * longer, and repeats the failover only after twice its timeout.
 */
const PERIODS = ['INFO-PERIOD', 500, 'PUBLISH-PERIOD', 200, 'PING-PERIOD', 400];

/**
 * Starts sentinels with a majority as quorum, and resolves when each has found the others and all replicas. A primary
 * without persistence that restarts before it counts as down empties its replicas: kill it, and restart it only when
 * `readPrimary` returns another one.
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
  const setPeriods = (sentinel: RedisServer): Promise<unknown> =>
    withClient(sentinel, (client) => client.call('SENTINEL', 'DEBUG', ...PERIODS));
  await Promise.all(sentinels.map(setPeriods));
  const replicas = await countReplicas(primary);
  await Promise.all(sentinels.map((sentinel) => untilKnows(sentinel, name, replicas, count - 1)));
  return {
    url: `redis+sentinel://${sentinels.map(({ host, port }) => `${host}:${port}`).join(',')}/${name}`,
    sentinels,
    readPrimary: () => readPrimaryAddress(sentinels, name),
    async untilHealthy(replicas) {
      await Promise.all(sentinels.map((sentinel) => untilReplicasHealthy(sentinel, name, replicas)));
    },
  };
}

async function countReplicas(primary: RedisServer): Promise<number> {
  const info = await withClient(primary, (client) => client.info('replication'));
  return Number(/^connected_slaves:(\d+)/m.exec(info)![1]);
}

async function untilKnows(sentinel: RedisServer, name: string, replicas: number, others: number): Promise<void> {
  await withClient(sentinel, async (client) => {
    await until(async () => {
      const master = parsePairs(await client.call('SENTINEL', 'MASTER', name));
      return (
        master.get('flags') === 'master' &&
        Number(master.get('num-slaves')) === replicas &&
        Number(master.get('num-other-sentinels')) === others
      );
    }, `the sentinel ${sentinel.url} has ${replicas} replicas and ${others} other sentinels`);
  });
}

async function untilReplicasHealthy(sentinel: RedisServer, name: string, replicas: number): Promise<void> {
  await withClient(sentinel, async (client) => {
    await until(async () => {
      const primary = parsePairs(await client.call('SENTINEL', 'MASTER', name));
      const found = ((await client.call('SENTINEL', 'REPLICAS', name)) as unknown[]).map(parsePairs);
      const healthy = found.filter((replica) => {
        const follows = replica.get('master-port') === primary.get('port');
        return follows && replica.get('flags') === 'slave' && replica.get('master-link-status') === 'ok';
      });
      return primary.get('flags') === 'master' && healthy.length === replicas;
    }, `the sentinel ${sentinel.url} has ${replicas} healthy replicas`);
  });
}

async function readPrimaryAddress(
  sentinels: readonly RedisServer[],
  name: string,
): Promise<{ host: string; port: number }> {
  const answers = sentinels.map((sentinel) =>
    withClient(sentinel, (client) => client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)),
  );
  const [host, port] = (await Promise.any(answers)) as [string, string];
  return { host, port: Number(port) };
}

/** Parses a reply [name, value, name, value, …]. */
function parsePairs(answer: unknown): Map<string, string> {
  const list = answer as string[];
  return new Map(list.flatMap((name, i) => (i % 2 === 0 ? [[name, list[i + 1]!] as const] : [])));
}
