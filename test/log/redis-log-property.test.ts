import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { parseRedisUrl } from '../../src/config/redis-url.js';
import type { EventLog, LogAppend, LogPage } from '../../src/log/event-log.js';
import { RedisLog } from '../../src/log/redis/redis-log.js';
import { RedisClient } from '../../src/store/redis/client/redis-client.js';
import { SCALE } from '../property/runs.js';
import { MemoryLog } from '../simulation/memory-log.js';
import { patientClock } from '../support/patient-clock.js';
import { Random } from '../support/random.js';
import { startRedis, stopRedis } from '../support/redis-server.js';

const STEPS = 250;
const EVENTS_MAX = 1_000;
/** Few, so that each has many entries. */
const PARTITIONS = 3;
const LARGE = 150_000;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);

let client: Redis;
let redisLog: RedisLog;

beforeAll(async () => {
  const server = await startRedis();
  client = server.client();
  const options = { clock: patientClock, replicated: false, warn: () => undefined };
  const connections = await RedisClient.open(parseRedisUrl(server.url), options);
  redisLog = await RedisLog.open(connections, { clock: patientClock, eventsMax: EVENTS_MAX, newName: () => 'log' });
});
afterAll(async () => {
  await redisLog.close();
  await stopRedis();
});

/** One of the two logs; entries are compared by their payloads, because offsets differ. */
class Side {
  readonly #offsets = new Map<string, number>([['', 0]]);

  constructor(readonly log: EventLog) {}

  async append(requests: readonly (readonly LogAppend[])[]): Promise<boolean[]> {
    const results = await Promise.allSettled(requests.map((appends) => this.log.append(appends)));
    return results.map(({ status }) => status === 'fulfilled');
  }

  async read(after: readonly string[], eventsMax: number): Promise<unknown[]> {
    const requests = after.map((payload, partition) => ({ partition, after: this.#offsets.get(payload)! }));
    return (await this.log.read(requests, eventsMax)).map((page) => this.#describe(page));
  }

  async trim(partition: number, upTo: string): Promise<unknown> {
    await this.log.trim('log', partition, this.#offsets.get(upTo)!);
    return (await this.log.status()).partitions;
  }

  #describe({ partition, entries, trimmedUpTo, eventsLeft }: LogPage): unknown {
    for (const { payload, offset } of entries) this.#offsets.set(payload, offset);
    const trimmed = [...this.#offsets].find(([, offset]) => offset === trimmedUpTo)?.[0];
    return { partition, trimmed, eventsLeft, entries: entries.map(({ payload, events }) => [payload, events]) };
  }
}

class RandomCalls {
  #entries = 0;
  /** Payloads that were read, by partition. */
  readonly #known: string[][] = Array.from({ length: PARTITIONS }, () => ['']);

  constructor(private readonly random: Random) {}

  requests(): LogAppend[][] {
    const { random } = this;
    return Array.from({ length: 1 + random.below(4) }, () =>
      Array.from({ length: 1 + random.below(4) }, () => {
        const partition = random.below(PARTITIONS);
        const payload = `${partition} ${++this.#entries} ${'x'.repeat(random.chance(0.02) ? LARGE : random.below(20))}`;
        return { partition, events: 1 + random.below(random.chance(0.1) ? 100 : 4), payload };
      }),
    );
  }

  remember(requests: readonly (readonly LogAppend[])[], kept: readonly boolean[]): void {
    for (const [i, appends] of requests.entries()) {
      if (kept[i]) for (const { partition, payload } of appends) this.#known[partition]!.push(payload);
    }
  }

  payload(partition: number): string {
    return this.random.pick(this.#known[partition]!);
  }
}

it(`the Redis log equals the log of simulations (TEST_SEED=${SEED})`, async () => {
  for (let history = 0; history < SCALE; history++) await compare(SEED + history);
});

async function compare(seed: number): Promise<void> {
  await client.flushall();
  const random = new Random(seed);
  const calls = new RandomCalls(random);
  const memoryLog = new MemoryLog({
    eventsMax: EVENTS_MAX,
    newName: () => 'log',
    isReplicated: false,
    nextIncarnation: (last) => last + 1,
  });
  const [memory, redis] = [new Side(memoryLog), new Side(redisLog)];
  const readAll = async (): Promise<void> => {
    const start = Array.from({ length: PARTITIONS }, () => '');
    expect(await redis.read(start, EVENTS_MAX)).toEqual(await memory.read(start, EVENTS_MAX));
  };
  for (let step = 0; step < STEPS; step++) {
    const turn = random.next();
    if (turn < 0.5) {
      const requests = calls.requests();
      const kept = await redis.append(requests);
      expect(kept).toEqual(await memory.append(requests));
      calls.remember(requests, kept);
      await readAll();
    } else if (turn < 0.8) {
      const after = Array.from({ length: PARTITIONS }, (_, partition) => calls.payload(partition));
      const eventsMax = 1 + random.below(EVENTS_MAX);
      expect(await redis.read(after, eventsMax)).toEqual(await memory.read(after, eventsMax));
    } else if (turn < 0.95) {
      const partition = random.below(PARTITIONS);
      const upTo = calls.payload(partition);
      expect(await redis.trim(partition, upTo)).toEqual(await memory.trim(partition, upTo));
    } else {
      // The next append begins another incarnation, as after a restart.
      await client.hdel('tc:{log}', 'history');
      memoryLog.restart();
    }
  }
}
