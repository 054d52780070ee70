import { expect, test } from '@jest/globals';
import { LIMIT_MS, RUNS } from '../property/runs.js';
import { Random } from '../support/random.js';
import type { Conduct } from './faulty-store.js';
import { checkAnswers, checkRetries, Client, POSTS } from './ingest-client.js';
import { type Attempt, IngestWorld, view } from './ingest-world.js';

const BUCKETS = 3;
const CLIENTS = 6;
/** How long clients act while the store misbehaves, … */
const ACTING_MS = 15_000;
/** … and how long recovery may take after that: a hang, a pause, and a retry. */
const RECOVERY_MS = 20_000;

test(
  'no acknowledged operation is lost or counted twice, whatever the store does to a batch',
  async () => {
    for (let seed = 1; seed <= RUNS; seed++) expect({ seed, ...(await history(seed)) }).toEqual({ seed, faults: [] });
  },
  LIMIT_MS,
);

async function history(seed: number): Promise<{ faults: string[] }> {
  const random = new Random(seed);
  const world = new IngestWorld({ buckets: BUCKETS, seed, conduct: () => conductOf(random) });
  const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(world, i));
  const anonymous: Attempt[] = [];
  while (world.clock.nowMs() < ACTING_MS) {
    for (let i = random.below(4); i > 0; i--) random.pick(clients).act(random);
    if (random.chance(0.3)) anonymous.push(world.submit(view(random.pick(POSTS))));
    await world.clock.advance(random.below(120));
  }
  world.store.conduct = () => ({ appliesAfterMs: 1, endsAfterMs: 1, answers: true });
  await world.clock.advance(RECOVERY_MS);

  const faults = [...world.store.misuses];
  const sent = clients.flatMap((client) => client.sent);
  if (world.ingest.pending > 0) faults.push(`${world.ingest.pending} operations are pending`);
  if (world.ingest.stats.retries === 0) faults.push('the store was too good');
  if (!sent.some(({ attempts }) => attempts.length > 1)) faults.push('no client had to retry');
  for (const { attempts } of sent) {
    checkAnswers(attempts, faults);
    checkRetries(attempts, faults);
  }
  for (const { answers } of anonymous) if (answers.length !== 1) faults.push(`answered by ${answers.join()}`);
  checkOrder(world, faults);
  for (const post of POSTS) {
    const views = [...sent.map(({ operation }) => operation), ...anonymous].filter(
      (one) => one.post === post && one.kind === 'add',
    ).length;
    const likes = clients.filter((client) => client.likes(post)).length;
    const totals = await world.totals(post);
    if (totals.views !== views || totals.likes !== likes)
      faults.push(`${post} has ${JSON.stringify(totals)} instead of ${JSON.stringify({ likes, views })}`);
  }
  return { faults };
}

/** From a good store to one that hangs longer than clients wait, or applies a batch after it rejected it. */
function conductOf(random: Random): Conduct {
  const ms = 1 + random.below(40);
  const kind = random.next();
  if (kind < 0.5) return { appliesAfterMs: ms, endsAfterMs: ms + random.below(5), answers: true };
  if (kind < 0.65) return { appliesAfterMs: null, endsAfterMs: ms, answers: false };
  if (kind < 0.8) return { appliesAfterMs: ms, endsAfterMs: ms + 5, answers: false };
  if (kind < 0.95) return { appliesAfterMs: ms + random.below(2_000), endsAfterMs: ms, answers: false };
  const hangs = 4_000 + random.below(3_000);
  return { appliesAfterMs: random.chance(0.5) ? hangs : 1, endsAfterMs: hangs, answers: random.chance(0.5) };
}

/** Operations are applied in the order of their submission, in every bucket and so for every post. */
function checkOrder(world: IngestWorld, faults: string[]): void {
  const last = new Map<number, number>();
  for (const { bucket, operations } of world.store.applied) {
    for (const operation of operations) {
      const number = world.order.get(operation as Attempt)!;
      if (number <= (last.get(bucket) ?? 0)) faults.push(`operation ${number} was overtaken`);
      last.set(bucket, number);
    }
  }
  const applied = world.store.applied.reduce((sum, { operations }) => sum + operations.length, 0);
  if (applied !== world.order.size) faults.push(`${applied} of ${world.order.size} operations were applied`);
}
