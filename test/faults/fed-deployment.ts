import { setTimeout as sleep } from 'node:timers/promises';
import { ADMIN_TOKEN, readSinkWarnings } from '../support/fed-gateway.js';
import { endProxied, ProxiedGateway } from '../support/gateway-proxied.js';
import { readMetrics } from '../support/metrics.js';
import type { PostgresServer, TestDatabase } from '../support/postgres-server.js';
import { RedisPair } from '../support/redis-pair.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';
import { Turns } from './turns.js';

const GATEWAYS = 3;
const ENV = { SINK_MS: '100', MAX_OPS_PER_CONNECTION: '0', ADMIN_TOKEN };
const METRICS = 'likes:toggle,views:tally';
const MORE_METRICS = `${METRICS},shares:tally`;

/** How a link fails: it is closed and refuses connections, or nothing comes through. */
export type Cut = 'refuse' | 'stall';

/** A gateway with a proxy to Redis. */
export interface FedGateway {
  readonly proxied: ProxiedGateway;
  /** Whatever ends or pauses the process takes turns. */
  readonly turns: Turns;
}

/** Gateways on one Redis and its replica, all with the same sink. */
export class FedDeployment {
  /** A failover and the end of a gateway take turns: an operation may be lost that only a killed gateway retains. */
  readonly ends = new Turns();
  readonly #postgresTurns = new Turns();
  #metrics = METRICS;

  private constructor(
    readonly redis: RedisPair,
    private readonly postgres: PostgresServer,
    readonly database: TestDatabase,
    /** All gateways have it, because they would have a lease each for sinks with different URLs. */
    readonly toDatabase: TcpProxy,
    readonly gateways: readonly FedGateway[],
  ) {}

  static async start(postgres: PostgresServer): Promise<FedDeployment> {
    const [redis, database] = await Promise.all([RedisPair.start(), postgres.createDatabase()]);
    const toDatabase = await startProxy(postgres);
    const { href } = database.urlWith({ port: String(toDatabase.port) });
    const start = async (): Promise<FedGateway> => {
      const proxied = await ProxiedGateway.start(redis, { ...ENV, METRICS, SINK_URL: href });
      return { proxied, turns: new Turns() };
    };
    const gateways = await Promise.all(Array.from({ length: GATEWAYS }, start));
    return new FedDeployment(redis, postgres, database, toDatabase, gateways);
  }

  get urls(): string[] {
    return this.gateways.map(({ proxied }) => proxied.url);
  }

  /** All lines that gateways logged about sinks. */
  get sinkWarnings(): string[] {
    return this.gateways.flatMap(({ proxied }) => readSinkWarnings(proxied));
  }

  /** Resolves when all gateways reach their store. */
  async untilReady(): Promise<void> {
    const isReady = (url: string): Promise<boolean> =>
      fetch(`${url}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      );
    await until(async () => !(await Promise.all(this.urls.map(isReady))).includes(false), 'all gateways are ready');
  }

  /** Kills the gateway, and starts it again. */
  async kill({ proxied, turns }: FedGateway): Promise<void> {
    await turns.take(() => this.#restart(proxied, 'SIGKILL'));
  }

  /** Ends the gateways one after the other, and starts each with one metric more. */
  async addMetric(): Promise<void> {
    this.#metrics = MORE_METRICS;
    for (const { proxied, turns } of this.gateways) {
      await this.ends.take(() => turns.take(() => this.#restart(proxied, 'SIGTERM')));
    }
  }

  /** Resolves with the gateway that feeds the sink, as soon as there is one. */
  async findFeeder(): Promise<FedGateway> {
    let feeder: FedGateway | undefined;
    await until(async () => {
      for (const gateway of this.gateways) if (await isFeeding(gateway)) feeder = gateway;
      return feeder !== undefined;
    }, 'a gateway feeds the sink');
    return feeder!;
  }

  /** Pauses the gateway that feeds the sink until another one does, which takes longer than the lease. */
  async pauseFeeder(): Promise<void> {
    for (let isPaused = false; !isPaused;) {
      const feeder = await this.findFeeder();
      isPaused = await feeder.turns.take(() => this.#pause(feeder));
    }
  }

  async killPostgres(signal: 'SIGKILL' | 'SIGQUIT', downMs: number): Promise<void> {
    await this.#postgresTurns.take(async () => {
      await this.postgres.kill(signal);
      await sleep(downMs);
      await this.postgres.restart();
    });
  }

  /** Ends all of it but PostgreSQL. */
  async end(): Promise<void> {
    await endProxied(this.gateways.map(({ proxied }) => proxied));
    await this.toDatabase.close();
  }

  /** The supervisor of a real gateway starts it again, too, if Redis is down while it boots. */
  async #restart(gateway: ProxiedGateway, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    let failure: unknown;
    const isStarted = async (): Promise<boolean> =>
      await gateway.restart(signal, { METRICS: this.#metrics }).then(
        () => true,
        (error: unknown) => {
          failure = error;
          return false;
        },
      );
    await until(isStarted, 'the gateway starts').catch((error: unknown) => {
      throw new Error(`${String(error)}: ${String(failure)}`, { cause: error });
    });
  }

  /** @returns false: another gateway feeds by now */
  async #pause(feeder: FedGateway): Promise<boolean> {
    if (!(await isFeeding(feeder))) return false;
    const { pid } = feeder.proxied;
    process.kill(pid, 'SIGSTOP');
    try {
      const others = this.gateways.filter((gateway) => gateway !== feeder);
      const isAnyFeeding = async (): Promise<boolean> => (await Promise.all(others.map(isFeeding))).includes(true);
      await until(isAnyFeeding, 'another gateway feeds the sink');
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    return true;
  }
}

/** Cuts a link for this long. */
export async function cutLink(link: TcpProxy, how: Cut, cutMs: number): Promise<void> {
  link[how]();
  await sleep(cutMs);
  link[how === 'refuse' ? 'accept' : 'resume']();
}

/** Only the gateway that feeds a sink has its state. A gateway that boots does not respond. */
async function isFeeding({ proxied }: FedGateway): Promise<boolean> {
  const page = await readMetrics(proxied.url).catch(() => new Map<string, number>());
  return [...page.keys()].some((name) => name.startsWith('tallycast_sink_up{'));
}
