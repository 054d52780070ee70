import { afterAll, beforeAll, describe, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { FEED_MAX } from '../../src/counters/change-feed.js';
import { Metrics } from '../../src/counters/metrics.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { Random } from '../support/random.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { History, type Shape } from './histories.js';
import { readContents, writeContents } from './redis-dumps.js';
import { StoreCopies } from './redis-copies.js';
import { LIMIT_MS, SCALE } from './runs.js';

const CHECK_EVERY = 60;
/** Batches in flight at once. */
const BATCHES_MAX = 6;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);

const TWO = Metrics.parse('likes:toggle,views:tally');
const SIXTEEN = Metrics.parse(
  `likes:toggle,views:tally,${Array.from({ length: 14 }, (_, i) => `more${i}:${i % 2 === 0 ? 'toggle' : 'tally'}`).join()}`,
);
const FEW = { buckets: 2, postsABucket: 3, actors: 6, sessions: 5, gateways: 3, large: 200, largeChance: 0.002 };
const SOME = { buckets: 4, postsABucket: 20, actors: 150, sessions: 80, gateways: 5, large: 500, largeChance: 0.003 };

interface Kind {
  readonly name: string;
  readonly shape: Shape;
  readonly histories: number;
  readonly steps: number;
  /** How often a copy has members. */
  readonly membersChance: number;
}

const kinds: readonly Kind[] = [
  { name: 'few posts, 2 metrics', shape: { ...FEW, metrics: TWO }, histories: 8, steps: 300, membersChance: 0.5 },
  {
    name: 'some posts, 16 metrics',
    shape: { ...SOME, metrics: SIXTEEN },
    histories: 3,
    steps: 300,
    membersChance: 0.5,
  },
  {
    name: 'more posts than stand under one seq',
    shape: { ...SOME, buckets: 1, postsABucket: 900, largeChance: 0.02, metrics: TWO },
    ...{ histories: 1, steps: 200, membersChance: 0.5 },
  },
  {
    name: 'more posts than are kept',
    shape: { ...SOME, buckets: 1, postsABucket: Math.ceil(1.5 * FEED_MAX), largeChance: 0.4, metrics: TWO },
    ...{ histories: 1, steps: 60, membersChance: 0.5 },
  },
  {
    name: 'more members than stand under one seq',
    shape: { ...SOME, buckets: 1, postsABucket: 2, actors: 6_000, large: 2_500, largeChance: 0.05, metrics: TWO },
    ...{ histories: 2, steps: 200, membersChance: 0.8 },
  },
  {
    name: 'more members than are kept',
    shape: { ...SOME, buckets: 1, postsABucket: 4, actors: 40_000, large: 8_000, largeChance: 0.3, metrics: TWO },
    ...{ histories: 1, steps: 100, membersChance: 1 },
  },
];

let client: Redis;
let url: string;

beforeAll(async () => {
  const server = await startRedis();
  url = server.url;
  client = server.client();
});
afterAll(stopRedis);

/** A store with copies, and random events: the same for the same seed. */
class World {
  readonly #history: History;
  readonly #copies: StoreCopies;
  #backup: { contents: ReadonlyMap<string, Buffer>; copies: ReturnType<StoreCopies['backUp']> } | null = null;

  constructor(
    private readonly store: RedisStore,
    private readonly shape: Shape,
    private readonly random: Random,
    membersChance: number,
  ) {
    this.#history = new History(shape, random);
    const copied = { client, history: this.#history, changes: store.changeStore, counters: store };
    this.#copies = new StoreCopies(copied, random, membersChance);
  }

  async step(): Promise<void> {
    const { random } = this;
    const turn = random.next();
    if (turn < 0.6) await this.#commit();
    else if (turn < 0.96) await this.#copies.step();
    else if (turn < 0.97) await this.#moveServer();
    else if (turn < 0.985) this.#backup = { contents: await readContents(client), copies: this.#copies.backUp() };
    else if (turn < 0.995) await this.#lose();
    else await this.#copies.stopRecording();
  }

  check(): Promise<void> {
    return this.#copies.check();
  }

  async #commit(): Promise<void> {
    const batches = Array.from({ length: 1 + this.random.below(BATCHES_MAX) }, () => this.#history.next());
    await Promise.all(batches.map((batch) => this.store.commit(batch)));
  }

  /** As after a restart or a failover that loses nothing. */
  async #moveServer(): Promise<void> {
    for (let bucket = 0; bucket < this.shape.buckets; bucket++) {
      await client.hset(`tc:{${bucket}}`, 'run_id', 'another server');
    }
  }

  /** As after a failover to a replica that lacks the last commits. */
  async #lose(): Promise<void> {
    if (this.#backup === null) return;
    await writeContents(client, this.#backup.contents);
    await this.#moveServer();
    this.#history.restart();
    this.#copies.lose(this.#backup.copies);
  }
}

async function run({ shape, steps, membersChance }: Kind, seed: number): Promise<void> {
  await client.flushall();
  let incarnations = 0;
  const store = await openRedisStore(url, { ...shape, nonce: () => ++incarnations });
  const world = new World(store, shape, new Random(seed), membersChance);
  try {
    for (let step = 1; step <= steps; step++) {
      await world.step().catch((error: unknown) => {
        throw new Error(`step ${step} of seed ${seed}`, { cause: error });
      });
      if (step % CHECK_EVERY === 0) await world.check();
    }
  } finally {
    await store.close();
  }
}

describe(`copies of the counts in Redis (TEST_SEED=${SEED})`, () => {
  it.each(kinds.map((kind) => [SCALE * kind.histories, kind.steps, kind.name, kind] as const))(
    'copies have exactly what changed in %d histories of %d steps about %s',
    async (histories, _, __, kind) => {
      for (let seed = SEED; seed < SEED + histories; seed++) await run(kind, seed);
    },
    LIMIT_MS,
  );
});
