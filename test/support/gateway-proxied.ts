import { type GatewayProcess, startGateway, stopAll } from './gateway-process.js';
import type { Random } from './random.js';
import { type RedisServer, startRedis, stopRedis } from './redis-server.js';
import { startProxy, type TcpProxy } from './tcp-proxy.js';

/** How often a piece of what is answered is lost, and its connection with it. */
const CLIENTS_LOSE = 1 / 60;
const COMMITS_LOSE = 1 / 30;
const REDIS_LOSES = 1 / 500;

/** One of the gateways that share a Redis, between two proxies: to its clients, and to Redis. */
export class ProxiedGateway {
  /** Where clients connect who are to suffer. */
  readonly clientUrl: string;
  #process: GatewayProcess;

  static async start(redis: RedisServer, env: Record<string, string>): Promise<ProxiedGateway> {
    const toRedis = await startProxy(redis);
    const withRedis = { ...env, REDIS_URL: `redis://127.0.0.1:${toRedis.port}` };
    const process = await startGateway(withRedis);
    return new ProxiedGateway(process, withRedis, toRedis, await startProxy(process));
  }

  private constructor(
    process: GatewayProcess,
    private readonly env: Record<string, string>,
    readonly toRedis: TcpProxy,
    readonly toClients: TcpProxy,
  ) {
    this.#process = process;
    this.clientUrl = `http://127.0.0.1:${toClients.port}`;
  }

  /** Straight to it. */
  get url(): string {
    return this.#process.url;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** From now on answers get lost on both sides, after what was asked has been done. */
  loseAnswers(random: Random): void {
    const drop = (chance: number): 'drop' | 'pass' => (random.chance(chance) ? 'drop' : 'pass');
    this.toClients.onReply = () => drop(CLIENTS_LOSE);
    // Of all that Redis answers only what became of a batch begins with a 0.
    this.toRedis.onReply = (chunk) => drop(chunk.includes('\r\n\0') ? COMMITS_LOSE : REDIS_LOSES);
  }

  keepAnswers(): void {
    this.toClients.onReply = null;
    this.toRedis.onReply = null;
  }

  /** Ends it without warning, and resolves when another life listens on its port. */
  async killAndRestart(): Promise<void> {
    const { port, dataDir } = this.#process;
    await this.#process.kill('SIGKILL');
    this.#process = await startGateway({ ...this.env, PORT: String(port), DATA_DIR: dataDir });
  }

  async close(): Promise<void> {
    await Promise.all([this.toClients.close(), this.toRedis.close()]);
  }
}

/** On one Redis of their own. `endProxied` ends all of it. */
export async function startProxied(count: number, env: Record<string, string>): Promise<ProxiedGateway[]> {
  const redis = await startRedis();
  return Promise.all(Array.from({ length: count }, () => ProxiedGateway.start(redis, env)));
}

export async function endProxied(gateways: readonly ProxiedGateway[]): Promise<void> {
  await Promise.all(gateways.map((gateway) => gateway.close()));
  await stopAll();
  await stopRedis();
}
