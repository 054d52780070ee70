import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Batch, CommitResult } from '../../src/counters/batch.js';
import { MARK_GENERATION_MS } from '../../src/counters/bucket.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import type { Operation } from '../../src/counters/operation.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import { BUCKETS, key, METRICS, postIn, SAVES, START_MS } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { RUNS } from './runs.js';

const POSTS_A_BUCKET = 2;
/** More than a post keeps in its record, so that sets move to chunks. */
const ACTORS = 24;
const SESSIONS = 4;
const GATEWAYS = 3;
const USED_BUCKETS = 2;
const REPLICA = { region: 'local', epoch: 1, nonce: 1 };

type Sketch = Omit<Operation, 'post'> & { readonly post: number };

const marked = fc.oneof(
  { weight: 1, arbitrary: fc.constant({ session: null, seq: 0 }) },
  {
    weight: 2,
    arbitrary: fc.record({
      session: fc.nat(SESSIONS - 1).map((i) => key(1_000 + i)),
      seq: fc.integer({ min: 1, max: 12 }),
    }),
  },
);
const asked = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('set' as const),
      metric: fc.constantFrom(LIKES, LIKES, LIKES, SAVES),
      value: fc.constantFrom(1, 1, 1, 0),
      actor: fc.nat(ACTORS - 1).map(key),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      metric: fc.constantFrom(VIEWS, VIEWS + 1),
      value: fc.integer({ min: 1, max: 1000 }),
      actor: fc.constant(null),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('adjust' as const),
      metric: fc.constantFrom(LIKES, SAVES),
      value: fc.constantFrom(1, -1),
      actor: fc.constant(null),
    }),
  },
);
const sketch: fc.Arbitrary<Sketch> = fc
  .tuple(asked, marked, fc.nat(POSTS_A_BUCKET - 1))
  .map(([what, mark, post]) => ({ ...what, ...mark, post }));

/** What a gateway does next in a bucket. */
const send = fc.record({
  kind: fc.constant('send' as const),
  gateway: fc.nat(GATEWAYS - 1),
  bucket: fc.nat(USED_BUCKETS - 1),
  /** `restart`: the gateway begins a new life. The others are batches that a fence has to answer by itself. */
  number: fc.constantFrom('next', 'next', 'next', 'next', 'next', 'again', 'gap', 'stale', 'restart'),
  laterMs: fc.constantFrom(0, 0, 10, 1_000, -5_000, MARK_GENERATION_MS / 2, MARK_GENERATION_MS),
  sketches: fc.array(sketch, { maxLength: 30, size: 'max' }),
});
const step = fc.oneof(
  { weight: 12, arbitrary: fc.array(send, { minLength: 1, maxLength: 4 }) },
  { weight: 1, arbitrary: fc.constant('reopen' as const) },
);

type Send = typeof send extends fc.Arbitrary<infer T> ? T : never;

/** The gateways of a history: they number batches and remember the last one of each bucket. */
class Gateways {
  #lives = 0;
  #nowMs = START_MS;
  readonly #incarnations: string[] = [];
  readonly #last = new Map<string, Batch>();

  constructor() {
    this.restart();
  }

  restart(): void {
    for (let gateway = 0; gateway < GATEWAYS; gateway++) this.#begin(gateway);
  }

  batch({ gateway, bucket, number, laterMs, sketches }: Send): Batch {
    if (number === 'restart') this.#begin(gateway);
    this.#nowMs += laterMs;
    const incarnation = this.#incarnations[gateway]!;
    const last = this.#last.get(`${incarnation} ${bucket}`);
    if (number === 'again' && last !== undefined) return last;
    const n = (last?.n ?? 0) + (number === 'gap' ? 2 : number === 'stale' ? -1 : 1);
    const operations = sketches.map((sketch) => ({ ...sketch, post: postIn(bucket, sketch.post) }));
    const batch = { bucket, incarnation, n, atMs: this.#nowMs, operations };
    if (n === (last?.n ?? 0) + 1) this.#last.set(`${incarnation} ${bucket}`, batch);
    return batch;
  }

  #begin(gateway: number): void {
    this.#lives += 1;
    this.#incarnations[gateway] = String(this.#lives).padStart(8, '0');
  }
}

function plain(result: CommitResult): unknown {
  if (result.kind !== 'applied') return result;
  return { ...result, outcomes: [...result.outcomes], counts: [...result.counts] };
}

async function everything(store: CounterStore): Promise<unknown> {
  const posts = Array.from({ length: USED_BUCKETS }, (_, bucket) => bucket).flatMap((bucket) =>
    Array.from({ length: POSTS_A_BUCKET }, (_, i) => postIn(bucket, i)),
  );
  return Promise.all(
    [null, ...Array.from({ length: ACTORS }, (_, i) => key(i))].map((actor) => store.read(posts, actor)),
  );
}

async function compare(steps: readonly (readonly Send[] | 'reopen')[]): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'tallycast-property-'));
  const open = (): EmbeddedStore =>
    new EmbeddedStore({ path, buckets: BUCKETS, metrics: METRICS, region: REPLICA.region, nonce: () => REPLICA.nonce });
  const reference = new ReferenceStore(METRICS, BUCKETS, REPLICA);
  const gateways = new Gateways();
  let store = open();
  try {
    for (const step of steps) {
      if (step === 'reopen') {
        await store.close();
        store = open();
        // A store of one process is opened by a new life of its gateway.
        gateways.restart();
        continue;
      }
      const batches = step.map((send) => gateways.batch(send));
      const answers = await Promise.all(batches.map((batch) => store.commit(batch)));
      const expected = await Promise.all(batches.map((batch) => reference.commit(batch)));
      expect(answers.map(plain)).toEqual(expected.map(plain));
    }
    expect(await everything(store)).toEqual(await everything(reference));
  } finally {
    await store.close();
    rmSync(path, { recursive: true });
  }
}

describe('the embedded store', () => {
  it('answers and keeps what the reference does, whatever gateways send', async () => {
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 20, size: 'max' }), compare), { numRuns: RUNS });
  }, 1_200_000);
});
