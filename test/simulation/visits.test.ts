import { describe, expect, test } from '@jest/globals';
import { COUNTING_RULES } from '../../src/counters/apply.js';
import type { Batch, CommitResult } from '../../src/counters/batch.js';
import { APPLIED, DUPLICATE, type Operation } from '../../src/counters/operation.js';
import { key, RULED_METRICS } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { Random } from '../support/random.js';
import { GOOD, LOSES_ANSWER, REFUSES } from './faulty-store.js';
import { IngestWorld } from './ingest-world.js';
import { SimulatedClock } from './simulated-clock.js';

const HISTORIES = 60 * SCALE;
const PLANTED = 200;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const GATEWAYS = 4;
const READERS = 6;
const POSTS = ['a', 'b'];
const LOADS = 150;
/** Four loads of a page in a window, for each reader, about. */
const BETWEEN_MS = 75_000;
const RETRY_MS = 1_000;
const VIEWS = RULED_METRICS.byName('views')!.index;
const WINDOW_S = RULED_METRICS.list[VIEWS]!.kind.windowS;

/** Remembers what was counted of each reader and post. */
class LedgerStore extends ReferenceStore {
  readonly visits = new Map<string, { atS: number; isCounted: boolean }[]>();

  override async commit(batch: Batch): Promise<CommitResult> {
    const before = this.buckets[batch.bucket]!.producerState(batch.producerId)?.batchNumber;
    const result = await super.commit(batch);
    if (result.kind !== 'applied' || before === batch.batchNumber) return result;
    batch.operations.forEach((operation, i) => this.#record(operation, result.outcomes[i]!));
    return result;
  }

  #record({ post, actor, atS }: Operation, outcome: number): void {
    if ((outcome & DUPLICATE) !== 0) return;
    const reader = `${actor!.lo} ${post}`;
    const visits = this.visits.get(reader) ?? [];
    visits.push({ atS: atS!, isCounted: (outcome & APPLIED) !== 0 });
    this.visits.set(reader, visits);
  }
}

/** Readers who load pages again and again, on any gateway, and retry what was not acknowledged. @returns a fault; `''`: there is none */
async function history(seed: number, uncountedVisitStartsWindow = false): Promise<string> {
  const random = new Random(seed);
  const clock = new SimulatedClock();
  const rules = { ...COUNTING_RULES, uncountedVisitStartsWindow };
  const store = new LedgerStore(RULED_METRICS, 1, { region: 'test', epoch: 1, nonce: 1 }, null, undefined, rules);
  const conduct = (): typeof GOOD => (random.chance(0.7) ? GOOD : random.chance(0.5) ? LOSES_ANSWER : REFUSES);
  const gateways = Array.from(
    { length: GATEWAYS },
    (_, i) => new IngestWorld({ seed: seed * GATEWAYS + i, clock, inner: store, conduct }),
  );
  let unanswered = 0;
  const send = (operation: Operation): void => {
    unanswered += 1;
    const atS = Math.floor(clock.wallMs() / 1_000);
    random.pick(gateways).submit({ ...operation, atS }, ({ answers }) => {
      unanswered -= 1;
      if (answers.at(-1) !== 'settled') clock.after(RETRY_MS, () => send(operation));
    });
  };
  for (let load = 1; load <= LOADS; load++) {
    const session = { hi: 9, lo: load };
    const view = { post: random.pick(POSTS), metric: VIEWS, kind: 'visit', value: 1 } as const;
    send({ ...view, actor: key(random.below(READERS)), session, seq: 1 });
    await clock.advance(random.below(2 * BETWEEN_MS));
  }
  for (const gateway of gateways) gateway.store.conduct = () => GOOD;
  await clock.advance(60_000);
  if (unanswered > 0) return `${unanswered} views were never acknowledged`;
  for (const [reader, visits] of store.visits) {
    const fault = faultOf(visits);
    if (fault !== '') return `${reader}: ${fault}`;
  }
  const [a, b] = await store.read(POSTS, null);
  const counted = [...store.visits.values()].flat().filter(({ isCounted }) => isCounted).length;
  const total = a!.counts.totals[VIEWS]! + b!.counts.totals[VIEWS]!;
  return total === counted ? '' : `${total} views instead of ${counted}`;
}

/** The visits of one reader, in the order of their commits: each window begins with one that counts, and no other counts in it. */
function faultOf(visits: readonly { atS: number; isCounted: boolean }[]): string {
  let countedAtS = -Infinity;
  for (const { atS, isCounted } of visits) {
    const isDue = atS - countedAtS >= WINDOW_S;
    if (isDue !== isCounted)
      return `at ${atS} a view ${isCounted ? 'counted' : 'did not count'}, ${atS - countedAtS} s later`;
    if (isCounted) countedAtS = atS;
  }
  return '';
}

describe('readers who reload, move between four gateways and retry', () => {
  test(
    `each counts once a window in ${HISTORIES} histories (TEST_SEED=${SEED})`,
    async () => {
      for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
        const fault = await history(seed);
        if (fault !== '') throw new Error(`seed ${seed}: ${fault}`);
      }
    },
    LIMIT_MS,
  );

  test(
    'the planted fault is found: a view that does not count starts a window, too',
    async () => {
      let found = '';
      for (let seed = 1; seed <= PLANTED && found === ''; seed++) found = await history(seed, true);
      expect(found).toContain('did not count');
    },
    LIMIT_MS,
  );
});
