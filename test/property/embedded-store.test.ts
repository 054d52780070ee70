import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import { METRICS, RULED_METRICS } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { Random } from '../support/random.js';
import { ArmedMilestones } from './armed-milestones.js';
import { History, readAlike, sendAlike, type Shape } from './histories.js';
import { LIMIT_MS, RUNS } from './runs.js';

const ROUNDS = 20;
/** Maximum number of batches in flight. */
const ROUND_MAX = 4;
const REOPENED = 0.1;
const ROUNDS_WITH_MILESTONES = 40;
/** Milestones that are armed or disarmed before a round. */
const ARMED_MAX = 8;
/** Records that a history has at least. */
const RECORDS_MIN = 10;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);

const FEW = { buckets: 2, postsABucket: 2, sessions: 5, gateways: 3, large: 200, largeChance: 0.1, metrics: METRICS };
/** More actors than the record of a post holds, so that sets move to chunks. */
const SHAPES: readonly Shape[] = [
  { ...FEW, actors: 24 },
  { ...FEW, actors: 400 },
  { ...FEW, actors: 400, metrics: RULED_METRICS },
];

/** An embedded store that a test may open again. */
class StoreOnDisk {
  readonly #path = mkdtempSync(join(tmpdir(), 'tallycast-property-'));
  store: EmbeddedStore;

  constructor(private readonly shape: Shape) {
    this.store = this.#open();
  }

  async reopen(): Promise<void> {
    await this.store.close();
    this.store = this.#open();
  }

  async close(): Promise<void> {
    await this.store.close();
    rmSync(this.#path, { recursive: true });
  }

  #open(): EmbeddedStore {
    const { buckets, metrics } = this.shape;
    const options = { path: this.#path, buckets, metrics, region: 'local', nonce: (): number => 1 };
    return new EmbeddedStore({ ...options, actorKeys: 'hash' });
  }
}

async function compare(shape: Shape, seed: number): Promise<void> {
  const disk = new StoreOnDisk(shape);
  const random = new Random(seed);
  const history = new History(shape, random);
  const reference = new ReferenceStore(shape.metrics, shape.buckets, { region: 'local', epoch: 1, nonce: 1 });
  let sent = 0;
  try {
    for (let round = 0; round < ROUNDS; round++) {
      if (random.chance(REOPENED)) {
        await disk.reopen();
        // A store of one process is opened by a new gateway process.
        history.restart();
      }
      const batches = Array.from({ length: 1 + random.below(ROUND_MAX) }, () => history.next());
      await sendAlike(disk.store, reference, batches, sent);
      sent += batches.length;
    }
    await readAlike(disk.store, reference, history.allPosts, history.actors);
  } finally {
    await disk.close();
  }
}

/** Like `compare`, with milestones that are armed and disarmed in between. @returns how many records were compared */
async function compareMilestones(shape: Shape, seed: number): Promise<number> {
  const disk = new StoreOnDisk(shape);
  const random = new Random(seed);
  const history = new History(shape, random);
  const reference = new ReferenceStore(shape.metrics, shape.buckets, { region: 'local', epoch: 1, nonce: 1 });
  const milestones = new ArmedMilestones(history, random, reference);
  try {
    for (let round = 0; round < ROUNDS_WITH_MILESTONES; round++) {
      if (random.chance(REOPENED)) {
        await disk.reopen();
        history.restart();
        await milestones.compare(disk.store);
      }
      for (let i = random.below(ARMED_MAX); i > 0; i--) await milestones.change(disk.store);
      const batches = Array.from({ length: 1 + random.below(ROUND_MAX) }, () => milestones.vary(history.next()));
      await sendAlike(disk.store, reference, batches, round * ROUND_MAX);
      // Applied now if they were not before because of their sums, else stale.
      const single = batches.filter(({ hasSums }) => hasSums === true).map((batch) => ({ ...batch, hasSums: false }));
      await sendAlike(disk.store, reference, single, round * ROUND_MAX);
    }
    await disk.reopen();
    await milestones.compare(disk.store);
  } finally {
    await disk.close();
  }
  return milestones.records;
}

describe(`the embedded store (TEST_SEED=${SEED})`, () => {
  it(
    `the embedded store equals the reference in ${2 * RUNS} histories of batches of gateways`,
    async () => {
      for (let seed = SEED; seed < SEED + 2 * RUNS; seed++) {
        await compare(SHAPES[seed % SHAPES.length]!, seed).catch((error: unknown) => {
          throw new Error(`the history of seed ${seed}`, { cause: error });
        });
      }
    },
    LIMIT_MS,
  );

  it(
    `the embedded store reaches the milestones of the reference in ${RUNS / 2} histories`,
    async () => {
      for (let seed = SEED; seed < SEED + RUNS / 2; seed++) {
        const records = await compareMilestones(SHAPES[seed % SHAPES.length]!, seed).catch((error: unknown) => {
          throw new Error(`the history of seed ${seed}`, { cause: error });
        });
        expect(records).toBeGreaterThan(RECORDS_MIN);
      }
    },
    LIMIT_MS,
  );
});
