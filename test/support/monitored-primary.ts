import { type Sentinels, startSentinels } from './redis-sentinel.js';
import { withClient, type RedisServer, startRedis, startReplica, untilCaughtUp, untilInSync } from './redis-server.js';
import { until } from './until.js';

/** With a shorter time, sentinels on a busy machine fail over from a primary that has just been promoted. */
const DOWN_AFTER_MS = 1_000;
/** Sentinels correct the primary of a replica after four periods. This one makes them correct it soon. */
const PUBLISH_MS = 200;
/** This period keeps sentinels from correcting a replica that the test has detached. */
const PUBLISH_SELDOM_MS = 60_000;
/** A port on which no server listens. */
const UNUSED_PORT = 1;

/** A primary and its replicas, monitored by three sentinels. */
export class MonitoredPrimary {
  private constructor(
    readonly sentinels: Sentinels,
    private readonly servers: readonly RedisServer[],
    private primary: RedisServer,
  ) {}

  static async start(replicas: number): Promise<MonitoredPrimary> {
    const primary = await startRedis();
    const others = await Promise.all(Array.from({ length: replicas }, () => startReplica(primary)));
    const sentinels = await startSentinels(primary, { downAfterMs: DOWN_AFTER_MS });
    return new MonitoredPrimary(sentinels, [primary, ...others], primary);
  }

  /** Ends the primary, and starts it again once another one is elected. The sentinels make it a replica. */
  async failOver(hangs: boolean): Promise<void> {
    const old = this.primary;
    await old.kill(hangs ? 'SIGSTOP' : 'SIGKILL');
    await this.#publishEvery(PUBLISH_MS);
    const isElected = async (): Promise<boolean> => {
      const { port } = await this.sentinels.readPrimary().catch(() => old);
      this.primary = this.servers.find((server) => server.port === port)!;
      return this.primary !== old;
    };
    await until(isElected, 'another primary is elected');
    await (hangs ? old.kill('SIGCONT') : old.restart());
  }

  async untilAllReplicate(): Promise<void> {
    await Promise.all(this.#replicas.map((replica) => untilInSync(replica, this.primary)));
    await this.sentinels.untilHealthy(this.#replicas.length);
  }

  /** Stops replication once replicas have what was committed until now, until the next failover has ended. */
  async detachReplica(): Promise<void> {
    await this.#publishEvery(PUBLISH_SELDOM_MS);
    for (const replica of this.#replicas) {
      await untilCaughtUp(replica, this.primary);
      await withClient(replica, (client) => client.replicaof(replica.host, UNUSED_PORT));
    }
  }

  get #replicas(): RedisServer[] {
    return this.servers.filter((server) => server !== this.primary);
  }

  async #publishEvery(ms: number): Promise<void> {
    const period = ['PUBLISH-PERIOD', ms];
    for (const sentinel of this.sentinels.sentinels) {
      const isSet = (): Promise<boolean> =>
        withClient(sentinel, (client) => client.call('SENTINEL', 'DEBUG', ...period)).then(
          () => true,
          () => false,
        );
      // On a busy machine a sentinel may reply too late.
      await until(isSet, `${sentinel.url} has another period`);
    }
  }
}
