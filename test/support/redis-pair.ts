import { type RedisServer, startRedis, startReplica, untilCaughtUp, untilInSync, withClient } from './redis-server.js';

/** A port on which no server listens. */
const UNUSED_PORT = 1;

/** A primary and a replica without Sentinels: a test decides what a failover loses, and leads connections to `port`. */
export class RedisPair {
  private constructor(
    private primary: RedisServer,
    private replica: RedisServer,
  ) {}

  static async start(): Promise<RedisPair> {
    const primary = await startRedis();
    return new RedisPair(primary, await startReplica(primary));
  }

  /** The port of the primary. */
  get port(): number {
    return this.primary.port;
  }

  /** Stops replication once the replica has what was committed until now. A failover loses what follows. */
  async detachReplica(): Promise<void> {
    await untilCaughtUp(this.replica, this.primary);
    await withClient(this.replica, (client) => client.replicaof(this.replica.host, UNUSED_PORT));
  }

  /** Kills the primary, and promotes the replica. */
  async failOver(): Promise<void> {
    await this.primary.kill('SIGKILL');
    await withClient(this.replica, (client) => client.replicaof('NO', 'ONE'));
    [this.primary, this.replica] = [this.replica, this.primary];
  }

  /** After a failover: starts the former primary as the replica. */
  async attachReplica(): Promise<void> {
    const { host, port } = this.primary;
    await this.replica.restart();
    await withClient(this.replica, (client) => client.replicaof(host, port));
    await untilInSync(this.replica, this.primary);
  }
}
