import { type GatewayProcess, startGateway } from '../support/gateway-process.js';
import type { Random } from '../support/random.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

/** Probability that a chunk for a client is lost together with its connection. */
const CLIENT_LOSS = 1 / 60;

/** A gateway behind a proxy that loses answers. */
export class LossyGateway {
  #process: GatewayProcess;

  private constructor(
    process: GatewayProcess,
    private readonly env: Record<string, string>,
    private readonly proxy: TcpProxy,
  ) {
    this.#process = process;
  }

  static async start(env: Record<string, string>, random: Random): Promise<LossyGateway> {
    const process = await startGateway(env);
    const proxy = await startProxy(process);
    proxy.onReply = () => (random.chance(CLIENT_LOSS) ? 'drop' : 'pass');
    return new LossyGateway(process, env, proxy);
  }

  /** URL of the gateway itself. */
  get url(): string {
    return this.#process.url;
  }

  /** URL of the lossy proxy for clients. */
  get clientUrl(): string {
    return `http://127.0.0.1:${this.proxy.port}`;
  }

  /** Kills the gateway with SIGKILL, and resolves when a new process listens on its port: it needs a primary to start. */
  async killAndRestart(): Promise<void> {
    const { port, dataDir } = this.#process;
    await this.#process.kill('SIGKILL');
    const isStarted = async (): Promise<boolean> => {
      this.#process = await startGateway({ ...this.env, PORT: String(port), DATA_DIR: dataDir });
      return true;
    };
    await until(() => isStarted().catch(() => false), 'the gateway is started again');
  }

  async close(): Promise<void> {
    await this.proxy.close();
  }
}
