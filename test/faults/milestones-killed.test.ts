import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import type { Key64 } from '../../src/counters/ids.js';
import { Metrics } from '../../src/counters/metrics.js';
import { APPLIED, DUPLICATE, REACHED } from '../../src/counters/operation.js';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import { applied } from '../contract/store-under-test.js';
import { Producer, START_MS } from '../contract/operations.js';
import { SCALE } from '../property/runs.js';
import { ROOT } from '../support/gateway-process.js';
import { Random } from '../support/random.js';

const KILLS = 25 * SCALE;
const VIEWS = 90;
const BY = 2;
/** Each of eight views reaches two, and the last ones of a post that was not killed in time are reached, too. */
const NUMBERS = Array.from({ length: 8 }, (_, i) => [20 * i + 19, 20 * i + 20]).flat();
const METRIC = 1;
const BATCHES = (2 * VIEWS) / 3;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);

/** A post and the session that views it. Seqs of a session are compared in all posts of a bucket, so each post has its own. */
interface Racer {
  readonly post: string;
  readonly session: Key64;
}

interface Line {
  readonly upTo: number;
  /** Seqs that were acknowledged as those that have reached a milestone. */
  readonly reached: readonly number[];
}

let path: string;

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'tallycast-racing-'));
});
afterEach(() => rmSync(path, { recursive: true }));

/** Runs racing-store.mjs, and kills it when it has acknowledged this many batches. @returns what it has acknowledged by its end */
async function race({ post, session }: Racer, kill: number): Promise<Line[]> {
  const program = join(ROOT, 'test', 'faults', 'racing-store.mjs');
  const args = [program, path, post, session.lo, VIEWS, BY, NUMBERS.join(',')].map(String);
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: Line[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(JSON.parse(line) as Line);
    if (lines.length === kill) child.kill('SIGKILL');
  }
  return lines;
}

function openStore(): EmbeddedStore {
  const options = { path, buckets: 1, region: 'local', nonce: (): number => 1 };
  return new EmbeddedStore({ ...options, actorKeys: 'hash', metrics: Metrics.parse('likes:toggle,views:tally') });
}

/** Sends all views again, as clients do that do not know which of them count. @returns seqs by outcome */
async function sendAgain(
  store: EmbeddedStore,
  { post, session }: Racer,
  producer: Producer,
): Promise<Map<number, number[]>> {
  const operations = Array.from({ length: VIEWS }, (_, i) => {
    return { post, metric: METRIC, kind: 'add' as const, value: BY, actor: null, session, seq: i + 1 };
  });
  const { outcomes } = await applied(store, producer.batch(0, operations, START_MS));
  const seqs = new Map<number, number[]>();
  for (const [i, outcome] of outcomes.entries()) seqs.set(outcome, [...(seqs.get(outcome) ?? []), i + 1]);
  return seqs;
}

/** The view that brings the total to this number. */
function winnerOf(n: number): number {
  return Math.ceil(n / BY);
}

function winnersOf(numbers: readonly number[]): number[] {
  return [...new Set(numbers.map(winnerOf))];
}

it(
  `a store that is killed has each milestone that it has acknowledged, and none twice, after ${KILLS} kills (TEST_SEED=${SEED})`,
  async () => {
    const random = new Random(SEED);
    let killedBetween = 0;
    for (let i = 0; i < KILLS; i++) {
      const racer = { post: `post-${i}`, session: { hi: 0, lo: i + 1 } };
      const { post, session } = racer;
      const lines = await race(racer, 1 + random.below(BATCHES - 1));
      const store = openStore();
      const [view] = await store.read([post], null);
      const total = view!.counts.totals[METRIC]!;
      const { armed, reached } = await store.milestones.read(post, METRIC);

      const below = NUMBERS.filter((n) => n <= total);
      expect(reached).toMatchObject(below.map((n) => ({ n, session, seq: winnerOf(n), missed: false })));
      expect(armed).toEqual(NUMBERS.filter((n) => n > total));
      const acknowledged = Math.max(...lines.map(({ upTo }) => upTo));
      expect(total).toBeGreaterThanOrEqual(BY * acknowledged);
      const named = lines.flatMap((line) => line.reached);
      expect(named).toEqual(winnersOf(NUMBERS.filter((n) => n <= BY * acknowledged)));
      if (armed.length > 0 && reached.length > 0) killedBetween += 1;

      const producer = new Producer('process2');
      const seqs = await sendAgain(store, racer, producer);
      expect(seqs.get(DUPLICATE | REACHED) ?? []).toEqual(winnersOf(below));
      expect(seqs.get(APPLIED | REACHED) ?? []).toEqual(winnersOf(armed));
      expect((await sendAgain(store, racer, producer)).get(DUPLICATE | REACHED)).toEqual(winnersOf(NUMBERS));
      const all = await store.milestones.read(post, METRIC);
      expect(all).toMatchObject({ armed: [], reached: NUMBERS.map((n) => ({ n, seq: winnerOf(n) })) });
      await store.close();
    }
    expect(killedBetween).toBeGreaterThan(KILLS / 4);
  },
  60_000 * 5 * SCALE,
);
