import { type GatewayProcess, startGateway, stopAll } from './gateway-process.js';
import type { Random } from './random.js';
import { startRedis, stopRedis } from './redis-server.js';
import { startProxy, type TcpProxy } from './tcp-proxy.js';

/** Probability that a chunk of a reply is lost together with its connection. */
const CLIENT_LOSS = 1 / 60;
const COMMIT_LOSS = 1 / 30;
const REDIS_LOSS = 1 / 500;

/** A gateway on a shared Redis between two proxies: one to its clients, one to Redis. */
export class ProxiedGateway {
  /** URL of the lossy proxy for clients. */
  readonly clientUrl: string;
  #process: GatewayProcess;
  /** Output of the processes that have ended. */
  readonly #log: string[] = [];

  /** @param redis its port is read for each connection, so that a failover may change it */
  static async start(redis: { readonly port: number }, env: Record<string, string>): Promise<ProxiedGateway> {
    const toRedis = await startProxy(redis);
    const withRedis = { ...env, REDIS_URL: `redis://127.0.0.1:${toRedis.port}` };
    const process = await startGateway(withRedis);
    return new ProxiedGateway(process, withRedis, toRedis, await startProxy(process));
  }

  private constructor(
    process: GatewayProcess,
    private env: Record<string, string>,
    readonly toRedis: TcpProxy,
    readonly toClients: TcpProxy,
  ) {
    this.#process = process;
    this.clientUrl = `http://127.0.0.1:${toClients.port}`;
  }

  /** URL of the gateway itself. */
  get url(): string {
    return this.#process.url;
  }

  /** Lines of its output so far, of all its processes. */
  get log(): readonly string[] {
    return [...this.#log, ...this.#process.log];
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Loses replies on both sides from now on, after the requests took effect. */
  loseAnswers(random: Random): void {
    const drop = (chance: number): 'drop' | 'pass' => (random.chance(chance) ? 'drop' : 'pass');
    this.toClients.onReply = () => drop(CLIENT_LOSS);
    // Among Redis's replies only the reply to a batch begins with a 0.
    this.toRedis.onReply = (chunk) => drop(chunk.includes('\r\n\0') ? COMMIT_LOSS : REDIS_LOSS);
  }

  keepAnswers(): void {
    this.toClients.onReply = null;
    this.toRedis.onReply = null;
  }

  /** Kills the gateway, and resolves when a new process listens on its port. */
  async killAndRestart(): Promise<void> {
    await this.restart('SIGKILL');
  }

  /** Ends the gateway, and starts it again on its port with these settings changed. If that fails, it may be called again. */
  async restart(signal: 'SIGKILL' | 'SIGTERM', changes: Record<string, string> = {}): Promise<void> {
    const { port, dataDir, log } = this.#process;
    await this.#process.kill(signal);
    this.env = { ...this.env, ...changes };
    this.#process = await startGateway({ ...this.env, PORT: String(port), DATA_DIR: dataDir });
    this.#log.push(...log);
  }

  async close(): Promise<void> {
    await Promise.all([this.toClients.close(), this.toRedis.close()]);
  }
}

/** Starts gateways on a new Redis. `endProxied` ends all of it. */
export async function startProxied(count: number, env: Record<string, string>): Promise<ProxiedGateway[]> {
  const redis = await startRedis();
  return Promise.all(Array.from({ length: count }, () => ProxiedGateway.start(redis, env)));
}

export async function endProxied(gateways: readonly ProxiedGateway[]): Promise<void> {
  await Promise.all(gateways.map((gateway) => gateway.close()));
  await stopAll();
  await stopRedis();
}
