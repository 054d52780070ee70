import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Cable } from './cables.js';
import { DrillError, freePort, HOST, Processes } from './processes.js';

const NAMES = ['eu', 'us', 'ap'] as const;
/** Deadline of a read from a gateway on this machine. */
const READ_MS = 5_000;
const POLL_MS = 50;
const MAIN = fileURLToPath(new URL('../main.js', import.meta.url));
const NO_REDIS = 'Install Redis 7 (apt-get install redis-server, brew install redis), or leave --redis out.';

export interface Counts {
  readonly likes: number;
  readonly views: number;
}

export interface RegionLink {
  readonly region: string;
  readonly up: boolean;
  /** Age of the oldest change that the other region lacks; 0 if it has all; `null` if unknown. */
  readonly lagSeconds: number | null;
}

/** A gateway with its own store. */
export class Region {
  readonly url: string;
  /** Whether its gateway runs. */
  isUp = false;

  constructor(
    readonly name: string,
    readonly port: number,
  ) {
    this.url = `http://${HOST}:${port}`;
  }

  async readCounts(post: string): Promise<Counts> {
    const { counts } = await this.#read<{ counts: readonly [Counts] }>(`/v1/counts?posts=${post}`);
    return counts[0];
  }

  /** Reads the status of its links to the other regions. */
  async readLinks(): Promise<readonly RegionLink[]> {
    const { peers } = await this.#read<{ peers: readonly RegionLink[] }>('/v1/regions');
    return peers;
  }

  async #read<T>(path: string): Promise<T> {
    const response = await fetch(this.url + path, { signal: AbortSignal.timeout(READ_MS) });
    if (!response.ok) throw new DrillError(`${this.name} answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as T;
  }
}

/** Three regions with a cable from each to each. */
export class Deployment {
  readonly #gateways = new Processes();
  readonly #stores = new Processes();
  readonly #token = randomBytes(16).toString('hex');
  /** By region: kills its gateway with -9 and starts it again with its store. */
  readonly #restarts = new Map<string, () => Promise<void>>();

  private constructor(
    readonly regions: readonly Region[],
    readonly cables: readonly Cable[],
  ) {}

  /** Makes the regions with their ports, without starting them. */
  static async make(): Promise<Deployment> {
    if (!existsSync(MAIN)) throw new DrillError('dist/main.js is missing: run `npm run build` first');
    const regions: Region[] = [];
    for (const name of NAMES) regions.push(new Region(name, await freePort()));
    const cables = regions.flatMap((from) =>
      regions.filter((to) => to !== from).map((to) => new Cable(from.name, to.name, to.port)),
    );
    return new Deployment(regions, cables);
  }

  /** Rejects when a process ends unexpectedly. */
  get failed(): Promise<never> {
    return Promise.race([this.#gateways.failed, this.#stores.failed]);
  }

  /**
   * Resolves when each region reaches each.
   * @param redis whether each region has a Redis instead of an embedded store
   */
  async start(redis: boolean): Promise<void> {
    await Promise.all(this.regions.map((region) => this.#startRegion(region, redis)));
    const isUp = async (region: Region): Promise<boolean> => (await region.readLinks()).every(({ up }) => up);
    while (!(await Promise.all(this.regions.map(isUp))).every(Boolean)) await pause(POLL_MS);
  }

  /** Kills the gateway of a region with -9, and starts it again. */
  async crash({ name, isUp }: Region): Promise<void> {
    if (isUp) await this.#restarts.get(name)!();
  }

  async end(): Promise<void> {
    await this.#gateways.end();
    await this.#stores.end();
    for (const cable of this.cables) cable.close();
  }

  async #startRegion(region: Region, redis: boolean): Promise<void> {
    const { name, port } = region;
    const store = redis ? await this.#startRedis(name) : { DATA_DIR: this.#stores.newDir() };
    const peers: string[] = [];
    for (const cable of this.cables) if (cable.from === name) peers.push(`${cable.to}=${await cable.open()}`);
    const gateway = {
      name: `the gateway of ${name}`,
      command: process.execPath,
      args: [MAIN],
      env: {
        HOST,
        PORT: String(port),
        REGION: name,
        PEERS: peers.join(),
        PEER_TOKEN: this.#token,
        ALLOWED_ORIGINS: this.regions.map(({ url }) => url).join(),
        ...store,
      },
      ready: '"msg":"listening"',
    };
    const start = async (): Promise<void> => {
      const kill = await this.#gateways.start(gateway);
      region.isUp = true;
      this.#restarts.set(name, async () => {
        region.isUp = false;
        await kill();
        await start();
      });
    };
    await start();
  }

  async #startRedis(region: string): Promise<{ REDIS_URL: string }> {
    const port = await freePort();
    await this.#stores.start({
      name: `the Redis of ${region}`,
      command: process.env['REDIS_SERVER_BIN'] ?? 'redis-server',
      args: ['--bind', HOST, '--port', String(port), '--save', '', '--dir', this.#stores.newDir()],
      ready: 'Ready to accept connections',
      install: NO_REDIS,
    });
    return { REDIS_URL: `redis://${HOST}:${port}` };
  }
}
