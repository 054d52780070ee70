import { freePort } from './free-port.js';
import { type GatewayProcess, startGateway } from './gateway-process.js';
import type { Random } from './random.js';
import { type RedisServer, startRedis } from './redis-server.js';
import { startProxy, type TcpProxy } from './tcp-proxy.js';

const PEER_TOKEN = 'a-token-of-all-the-regions';

/** One region: gateways on one Redis, or one on the embedded store. */
export class Region {
  readonly gateways: GatewayProcess[] = [];
  /** Where the next connection of a peer goes. */
  #turn = 0;

  constructor(
    readonly name: string,
    /** Ports of its gateways, the same in each of their lives. */
    readonly ports: readonly number[],
    readonly redis: RedisServer | null,
  ) {}

  /** Read for each new connection: so peers reach one gateway after the other. */
  get port(): number {
    this.#turn += 1;
    return this.ports[this.#turn % this.ports.length]!;
  }

  get urls(): string[] {
    return this.ports.map((port) => `http://127.0.0.1:${port}`);
  }

  async killAndRestart(i: number, env: Record<string, string>): Promise<void> {
    const { dataDir } = this.gateways[i]!;
    await this.gateways[i]!.kill('SIGKILL');
    this.gateways[i] = await startGateway({ ...env, PORT: String(this.ports[i]!), DATA_DIR: dataDir });
  }
}

/** Regions as processes, each way between two of them over a cable that can be cut. */
export class RegionProcesses {
  private constructor(
    readonly regions: readonly Region[],
    /** By `from to`: what `from` asks of `to` goes this way. */
    private readonly cables: ReadonlyMap<string, TcpProxy>,
    private readonly more: Record<string, string>,
  ) {}

  /** @param gateways of each region; more than one share a Redis @param more of their environment */
  static async start(
    names: readonly string[],
    { gateways, redis, more = {} }: { gateways: number; redis: boolean; more?: Record<string, string> },
  ): Promise<RegionProcesses> {
    const regions = await Promise.all(
      names.map(async (name) => {
        const ports: number[] = [];
        while (ports.length < gateways) ports.push(await freePort());
        return new Region(
          name,
          ports,
          redis ? await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] }) : null,
        );
      }),
    );
    const cables = new Map<string, TcpProxy>();
    for (const from of regions)
      for (const to of regions) if (from !== to) cables.set(`${from.name} ${to.name}`, await startProxy(to));
    const started = new RegionProcesses(regions, cables, more);
    await Promise.all(regions.map((region) => started.#startGateways(region)));
    return started;
  }

  get cableNames(): string[] {
    return [...this.cables.keys()];
  }

  get urls(): string[] {
    return this.regions.flatMap(({ urls }) => urls);
  }

  env(region: Region): Record<string, string> {
    const peers = this.regions
      .filter((peer) => peer !== region)
      .map(({ name }) => `${name}=http://127.0.0.1:${this.cables.get(`${region.name} ${name}`)!.port}`);
    return {
      REGION: region.name,
      PEERS: peers.join(','),
      PEER_TOKEN,
      ...(region.redis && { REDIS_URL: region.redis.url }),
      ...this.more,
    };
  }

  /** What the one asks of the other does not get there any more, or is not answered. */
  cut(from: string, to: string, how: 'refuse' | 'stall'): void {
    this.cables.get(`${from} ${to}`)![how]();
  }

  cutAll(): void {
    for (const cable of this.cables.values()) cable.refuse();
  }

  mend(): void {
    for (const cable of this.cables.values()) {
      cable.accept();
      cable.resume();
    }
  }

  cutOne(random: Random): void {
    const [from, to] = random.pick(this.cableNames).split(' ') as [string, string];
    this.cut(from, to, random.chance(0.5) ? 'refuse' : 'stall');
  }

  async close(): Promise<void> {
    await Promise.all([...this.cables.values()].map((cable) => cable.close()));
  }

  async #startGateways(region: Region): Promise<void> {
    for (const port of region.ports) {
      region.gateways.push(await startGateway({ ...this.env(region), PORT: String(port) }));
    }
  }
}
