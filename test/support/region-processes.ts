import { freePort } from './free-port.js';
import { type GatewayProcess, startGateway } from './gateway-process.js';
import type { Random } from './random.js';
import { RedisPair } from './redis-pair.js';
import { type RedisServer, startRedis } from './redis-server.js';
import { startProxy, type TcpProxy } from './tcp-proxy.js';

export const PEER_TOKEN = 'a-token-of-all-the-regions';

/** One region: several gateways on one Redis, or one with the embedded store. */
export class Region {
  readonly gateways: GatewayProcess[] = [];
  /** Number of connections of peers so far. */
  #connections = 0;

  constructor(
    readonly name: string,
    /** Ports of its gateways; they stay the same after a restart. */
    readonly ports: readonly number[],
    readonly redis: RedisServer | null,
    /** A primary with a replica, instead of `redis`, and the proxy that leads to the primary. */
    private readonly pair: { readonly servers: RedisPair; readonly proxy: TcpProxy } | null = null,
  ) {}

  get redisUrl(): string | undefined {
    return this.pair === null ? this.redis?.url : `redis://127.0.0.1:${this.pair.proxy.port}`;
  }

  /** Kills the primary of its pair. @returns when the former replica is the primary and has a replica */
  async failOver(): Promise<void> {
    const { servers } = this.pair!;
    await servers.failOver();
    await servers.attachReplica();
  }

  async close(): Promise<void> {
    await this.pair?.proxy.close();
  }

  /** Read for each new connection, so that peers reach one gateway after the other. */
  get port(): number {
    this.#connections += 1;
    return this.ports[this.#connections % this.ports.length]!;
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

interface RegionsOptions {
  /** Number in each region; more than one share a Redis, or a pair. */
  readonly gateways: number;
  readonly redis: boolean | 'pair';
  /** Environment of all gateways. */
  readonly more?: Record<string, string>;
  /** Environment of the gateways of one region, by its name. */
  readonly own?: Readonly<Record<string, Record<string, string>>>;
}

/** Regions as processes; a proxy for each direction between two regions can be cut. */
export class RegionProcesses {
  private constructor(
    readonly regions: readonly Region[],
    /** Keyed by `from to`; carries the requests of `from` to `to`. */
    private readonly cables: ReadonlyMap<string, TcpProxy>,
    private readonly more: Record<string, string>,
    private readonly own: Readonly<Record<string, Record<string, string>>>,
  ) {}

  static async start(
    names: readonly string[],
    { gateways, redis, more = {}, own = {} }: RegionsOptions,
  ): Promise<RegionProcesses> {
    const regions = await Promise.all(
      names.map(async (name) => {
        const ports: number[] = [];
        while (ports.length < gateways) ports.push(await freePort());
        if (redis === 'pair') {
          const servers = await RedisPair.start();
          return new Region(name, ports, null, { servers, proxy: await startProxy(servers) });
        }
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
    const started = new RegionProcesses(regions, cables, more, own);
    await Promise.all(regions.map((region) => started.#startGateways(region)));
    return started;
  }

  get cableNames(): string[] {
    return [...this.cables.keys()];
  }

  get urls(): string[] {
    return this.regions.flatMap(({ urls }) => urls);
  }

  /** URL of the first gateway of a region. */
  urlOf(region: string): string {
    return this.regions.find(({ name }) => name === region)!.urls[0]!;
  }

  env(region: Region): Record<string, string> {
    const peers = this.regions
      .filter((peer) => peer !== region)
      .map(({ name }) => `${name}=http://127.0.0.1:${this.cables.get(`${region.name} ${name}`)!.port}`);
    return {
      REGION: region.name,
      PEERS: peers.join(','),
      PEER_TOKEN,
      ...(region.redisUrl !== undefined && { REDIS_URL: region.redisUrl }),
      ...this.more,
      ...this.own[region.name],
    };
  }

  /** Requests of `from` to `to` are refused, or get no response. */
  cut(from: string, to: string, how: 'refuse' | 'stall'): void {
    this.cables.get(`${from} ${to}`)![how]();
  }

  /** Requests of `from` take effect in `to`, and their responses are lost. */
  loseResponses(from: string, to: string): void {
    this.cables.get(`${from} ${to}`)!.onReply = () => 'drop';
  }

  /** Cuts a region off from all others. */
  isolate(region: string): void {
    for (const [name, cable] of this.cables) if (name.split(' ').includes(region)) cable.refuse();
  }

  cutAll(): void {
    for (const cable of this.cables.values()) cable.refuse();
  }

  mend(): void {
    for (const cable of this.cables.values()) {
      cable.accept();
      cable.resume();
      cable.onReply = null;
    }
  }

  cutOne(random: Random): void {
    const [from, to] = random.pick(this.cableNames).split(' ') as [string, string];
    this.cut(from, to, random.chance(0.5) ? 'refuse' : 'stall');
  }

  async close(): Promise<void> {
    await Promise.all([...this.cables.values(), ...this.regions].map((one) => one.close()));
  }

  async #startGateways(region: Region): Promise<void> {
    for (const port of region.ports) {
      region.gateways.push(await startGateway({ ...this.env(region), PORT: String(port) }));
    }
  }
}
