import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from '@jest/globals';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import { METRICS, RULED_METRICS } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { Random } from '../support/random.js';
import { History, readAlike, sendAlike, type Shape } from './histories.js';
import { LIMIT_MS, RUNS } from './runs.js';

const ROUNDS = 20;
/** Maximum number of batches in flight. */
const ROUND_MAX = 4;
const REOPENED = 0.1;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);

const FEW = { buckets: 2, postsABucket: 2, sessions: 5, gateways: 3, large: 200, largeChance: 0.1, metrics: METRICS };
/** More actors than the record of a post holds, so that sets move to chunks. */
const SHAPES: readonly Shape[] = [
  { ...FEW, actors: 24 },
  { ...FEW, actors: 400 },
  { ...FEW, actors: 400, metrics: RULED_METRICS },
];

async function compare(shape: Shape, seed: number): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'tallycast-property-'));
  const { buckets, metrics } = shape;
  const open = (): EmbeddedStore =>
    new EmbeddedStore({ path, buckets, actorKeys: 'hash', metrics, region: 'local', nonce: () => 1 });
  const random = new Random(seed);
  const history = new History(shape, random);
  const reference = new ReferenceStore(metrics, buckets, { region: 'local', epoch: 1, nonce: 1 });
  let store = open();
  let sent = 0;
  try {
    for (let round = 0; round < ROUNDS; round++) {
      if (random.chance(REOPENED)) {
        await store.close();
        store = open();
        // A store of one process is opened by a new gateway process.
        history.restart();
      }
      const batches = Array.from({ length: 1 + random.below(ROUND_MAX) }, () => history.next());
      await sendAlike(store, reference, batches, sent);
      sent += batches.length;
    }
    await readAlike(store, reference, history.allPosts, history.actors);
  } finally {
    await store.close();
    rmSync(path, { recursive: true });
  }
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
});
