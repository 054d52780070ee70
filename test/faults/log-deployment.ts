import { type GatewayProcess, startGateway } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import type { RedisServer } from '../support/redis-server.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';

/** A Redis whose port may change with a failover. */
type Server = Pick<RedisServer, 'port'>;

const redisUrl = (port: number): string => `redis://127.0.0.1:${port}`;
export const natsUrl = (port: number): string => `nats://127.0.0.1:${port}?stream=EVENTS`;

const ENV = { LOG_MS: '50', MAX_OPS_PER_CONNECTION: '0' };

/** Two gateways on one store, with one log in front of it. */
export class LogDeployment {
  private constructor(
    readonly toStore: TcpProxy,
    readonly toLog: TcpProxy,
    private readonly env: Record<string, string>,
    /** Those that run. */
    public gateways: readonly GatewayProcess[],
    /** Also of a gateway that is killed. */
    readonly addresses: readonly string[],
  ) {}

  static async start(
    store: Server,
    log: Server,
    env: Record<string, string>,
    toLogUrl = redisUrl,
  ): Promise<LogDeployment> {
    const [toStore, toLog] = await Promise.all([startProxy(store), startProxy(log)]);
    const whole = { ...ENV, ...env, REDIS_URL: redisUrl(toStore.port), LOG_URL: toLogUrl(toLog.port) };
    const gateways = await Promise.all([startGateway(whole), startGateway(whole)]);
    return new LogDeployment(
      toStore,
      toLog,
      whole,
      gateways,
      gateways.map(({ url }) => url),
    );
  }

  get urls(): string[] {
    return this.gateways.map(({ url }) => url);
  }

  /** Sums a series over the gateways. */
  async sum(name: string): Promise<number> {
    const pages = await Promise.all(this.urls.map((url) => readMetrics(url)));
    return pages.reduce((sum, page) => sum + page.get(name)!, 0);
  }

  /** Kills the gateway that counts most of the events, and starts it again on its port when `meanwhile` has resolved. */
  async killReader(meanwhile: () => Promise<void>): Promise<void> {
    const applied = await Promise.all(
      this.urls.map(async (url) => (await readMetrics(url)).get('tallycast_log_applied_total')!),
    );
    const killed = this.gateways[applied[0]! > applied[1]! ? 0 : 1]!;
    this.gateways = this.gateways.filter((one) => one !== killed);
    await killed.kill('SIGKILL');
    await meanwhile();
    const started = await startGateway({ ...this.env, PORT: String(killed.port), DATA_DIR: killed.dataDir });
    this.gateways = [...this.gateways, started];
  }

  async close(): Promise<void> {
    await Promise.all([this.toStore.close(), this.toLog.close()]);
  }
}
