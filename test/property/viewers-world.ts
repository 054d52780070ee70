import type { Redis } from 'ioredis';
import { systemClock } from '../../src/common/clock.js';
import { toKeyText } from '../../src/counters/ids.js';
import { parseRedisUrl } from '../../src/config/redis-url.js';
import { RedisClient } from '../../src/store/redis/client/redis-client.js';
import { PERSON_BYTES } from '../../src/store/redis/codec/viewer-report.js';
import { buildBucketKeys } from '../../src/store/redis/codec/redis-keys.js';
import { key, postIn } from '../contract/operations.js';
import type { Random } from '../support/random.js';
import type { RedisServer } from '../support/redis-server.js';
import { ReportingGateway } from '../support/reporting-gateway.js';

export interface ViewersShape {
  readonly posts: number;
  readonly people: number;
  /** People who come or leave at once, at most. */
  readonly crowd: number;
}

const GATEWAYS = 3;
const KEYS = buildBucketKeys(0, '');

/** Gateways on one Redis, whose people come and go, and which die, stop, and lose reports. */
export class ViewersWorld {
  #gateways: ReportingGateway[] = [];
  #opened = 0;
  #shape!: ViewersShape;
  #random!: Random;
  /** Everything in Redis some time ago. */
  #backup = new Map<Buffer, Buffer>();

  private constructor(
    private readonly client: RedisClient,
    private readonly redis: Redis,
  ) {}

  static async open(server: RedisServer): Promise<ViewersWorld> {
    const options = { clock: systemClock, replicated: false, warn: () => undefined };
    return new ViewersWorld(await RedisClient.open(parseRedisUrl(server.url), options), server.client());
  }

  async reset(shape: ViewersShape, random: Random): Promise<void> {
    await this.redis.flushall();
    this.#shape = shape;
    this.#random = random;
    this.#backup = new Map();
    this.#gateways = Array.from({ length: GATEWAYS }, () => this.#openGateway());
  }

  async step(): Promise<void> {
    const random = this.#random;
    const gateway = random.pick(this.#gateways);
    const chance = random.next();
    gateway.fault = random.pick(['lost', 'reply lost', null, null, null]);
    if (chance < 0.4) this.#enter(gateway);
    else if (chance < 0.7) this.#leave(gateway);
    else if (chance < 0.85) await gateway.announce();
    else if (chance < 0.93) await gateway.sweep();
    else if (chance < 0.96) await this.#endLeases([gateway.id]);
    else if (chance < 0.97) await this.#backUp();
    else if (chance < 0.98) await this.#restore();
    else this.#replace(gateway);
  }

  leaveAll(): void {
    for (const gateway of this.#gateways) while (gateway.connections.length > 0) gateway.leave(0);
  }

  /** Lets all reports arrive and all leases of gateways that are gone end. @returns what Redis then has wrong */
  async findFaults(): Promise<string[]> {
    const alive = new Set(this.#gateways.map(({ id }) => id));
    await this.#endLeases((await this.redis.zrange(KEYS.gateways, '0', '-1')).filter((id) => !alive.has(id)));
    for (const gateway of this.#gateways) {
      gateway.fault = null;
      await gateway.announce();
    }
    // Each sweep removes a bounded number of viewers.
    do for (const gateway of this.#gateways) await gateway.sweep();
    while ((await this.redis.zcount(KEYS.gateways, 0, Date.now())) > 0);
    for (const gateway of this.#gateways) await gateway.sweep();
    const stored = await this.redis.hgetall(KEYS.viewers);
    const expected = this.#countViewers();
    const wrong = [...new Set([...Object.keys(stored), ...expected.keys()])].filter(
      (post) => Number(stored[post] ?? 0) !== (expected.get(post) ?? 0),
    );
    return [
      ...wrong.map((post) => `${post} has ${stored[post]} viewers instead of ${expected.get(post)}`),
      ...(await this.#findOrphans(alive)),
    ];
  }

  async close(): Promise<void> {
    await this.client.close();
  }

  /** The plain model: each person once, and each connection without an actor. */
  #countViewers(): Map<string, number> {
    const viewers = new Map<string, Set<unknown>>();
    for (const { connections } of this.#gateways) {
      for (const connection of connections) {
        if (!connection.isPresent) continue;
        const ofPost = viewers.get(connection.post) ?? new Set();
        viewers.set(connection.post, ofPost.add(connection.person ?? connection));
      }
    }
    return new Map([...viewers].map(([post, { size }]) => [post, size]));
  }

  /** Finds people and gateways in Redis who are not there. */
  async #findOrphans(alive: ReadonlySet<string>): Promise<string[]> {
    const people = new Set<string>();
    for (const { connections } of this.#gateways) {
      for (const { post, person, isPresent } of connections)
        if (isPresent && person !== null) people.add(person + post);
    }
    const stored = (await this.redis.hkeysBuffer(KEYS.bucket + ':people')).map((one) => one.toString('latin1'));
    const orphans = stored.filter((one) => !people.has(one)).map((one) => `nobody is at ${one.slice(PERSON_BYTES)}`);
    const keys = await this.redis.keys('tc:{0}:*:gateway-*');
    return [...orphans, ...keys.filter((one) => !alive.has(one.slice(one.lastIndexOf(':') + 1)))];
  }

  #openGateway(): ReportingGateway {
    return new ReportingGateway(this.client, `gateway-${(this.#opened += 1)}`);
  }

  #enter(gateway: ReportingGateway): void {
    const { posts, people, crowd } = this.#shape;
    for (let i = this.#random.below(crowd); i >= 0; i--) {
      const person = this.#random.chance(0.3) ? null : toKeyText(key(this.#random.below(people)));
      gateway.enter({ post: postIn(0, this.#random.below(posts)), person, isPresent: this.#random.chance(0.9) });
    }
  }

  #leave(gateway: ReportingGateway): void {
    for (let i = this.#random.below(2 * this.#shape.crowd); i >= 0; i--) {
      if (gateway.connections.length > 0) gateway.leave(this.#random.below(gateway.connections.length));
    }
  }

  /** The gateway dies, and another one starts. */
  #replace(gateway: ReportingGateway): void {
    this.#gateways = [...this.#gateways.filter((one) => one !== gateway), this.#openGateway()];
  }

  /** A gateway that is alive was stopped for so long that its lease has ended. */
  async #endLeases(ids: readonly string[]): Promise<void> {
    for (const id of ids) await this.redis.zadd(KEYS.gateways, 'XX', 0, id);
  }

  async #backUp(): Promise<void> {
    this.#backup = new Map();
    for (const one of await this.redis.keysBuffer('*')) this.#backup.set(one, await this.redis.dumpBuffer(one));
  }

  /** A replica that lacks everything since the backup becomes the primary. */
  async #restore(): Promise<void> {
    await this.redis.flushall();
    for (const [one, dump] of this.#backup) await this.redis.restore(one, 0, dump);
    for (const { reports } of this.#gateways) reports.compareAll();
  }
}
