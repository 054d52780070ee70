import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { COUNTING_RULES, type CountingRules } from '../../src/counters/apply.js';
import { DUPLICATE } from '../../src/counters/operation.js';
import { HOME_RULES, type HomeRules } from '../../src/counters/replication/home-rules.js';
import { BucketQueue } from '../../src/ingest/bucket-queue.js';
import { readInstant } from '../../src/ingest/dual-clock-instant.js';
import { RetainedBatches } from '../../src/ingest/retained-batches.js';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { Random } from '../support/random.js';
import { FLUSH_MS, view } from './ingest-world.js';
import { SimulatedClock } from './simulated-clock.js';
import { ForwardingWorld, N } from './forwarding-world.js';

const HISTORIES = 60 * SCALE;
const PLANTED = 300;
const DAY_MS = 86_400_000;
/** Other histories each day. */
const SEED = Number(process.env['TEST_SEED'] ?? Math.floor(Date.now() / DAY_MS) * 1_000);
const STEPS = 60;
const SESSION = { hi: 9, lo: 9 };

afterEach(() => {
  jest.restoreAllMocks();
});

interface Course {
  readonly isCut?: boolean;
  readonly failsOver?: boolean;
  readonly rules?: CountingRules;
  readonly homes?: HomeRules;
}

/** Runs a history. @returns a description of a fault; `''`: there is none */
async function history(seed: number, { isCut, failsOver, rules, homes }: Course): Promise<string> {
  const random = new Random(seed);
  const world = new ForwardingWorld(random, rules, homes);
  await world.start(1 + random.below(N - 5));
  for (let step = 0; step < STEPS; step++) {
    const turn = random.next();
    if (turn < 0.8) random.pick(world.clients).act(random);
    else if (turn < 0.83 && failsOver) await world.failOver(random.below(3), random.below(2_000));
    else if (turn < 0.9 && failsOver) world.replicate(random.below(3));
    else if (turn < 0.95 && isCut) world.regions.cut(random.below(3), random.below(3));
    else world.regions.mend();
    await world.clock.advance(random.below(400));
  }
  world.heal();
  await world.clock.advance(60_000);
  const fault = await world.findFault();
  world.regions.close();
  return fault;
}

async function findFault(from: number, count: number, course: Course): Promise<string> {
  for (let seed = from; seed < from + count; seed++) {
    const fault = await history(seed, course);
    if (fault !== '') return `seed ${seed}: ${fault}`;
  }
  return '';
}

describe(`gateways of three regions that forward (TEST_SEED=${SEED})`, () => {
  test.each([[{ isCut: true }], [{ failsOver: true }]])(
    `each operation is counted once, and one is the ${N}th, in ${HISTORIES} histories of %j`,
    async (course) => {
      expect(await findFault(SEED, HISTORIES, course)).toBe('');
    },
    LIMIT_MS,
  );

  test.each([
    ['replays of what was counted here are forwarded', { homes: { ...HOME_RULES, countsReplays: false } }],
    ['replays that may reach a milestone do not wait', { rules: { ...COUNTING_RULES, replaysWait: false } }],
  ] as const)(
    'histories find operations that are not counted: %s',
    async (_, plant) => {
      expect(await findFault(1, PLANTED, { failsOver: true, ...plant })).toMatch(/counted: /);
    },
    LIMIT_MS,
  );

  test(
    'histories find operations that overtake one of their session that is away',
    async () => {
      jest.spyOn(BucketQueue.prototype, 'holdBack').mockImplementation(() => undefined);
      expect(await findFault(1, PLANTED, { isCut: true })).not.toBe('');
    },
    LIMIT_MS,
  );
});

describe('an operation that another region has to do', () => {
  test('it is settled with the outcome of that region, and its session goes on after it', async () => {
    const world = new ForwardingWorld(new Random(1));
    await world.start();
    const { submit } = world.gateways[1]!;
    const first = submit(view('a', SESSION, 1));
    const other = submit(view('b', SESSION, 2));
    await world.clock.advance(1_000);
    expect([first.answers, other.answers]).toEqual([['settled'], ['settled']]);
    expect(other.answeredAtMs).toBeGreaterThan(first.answeredAtMs!);
    const again = submit(view('a', SESSION, 1));
    await world.clock.advance(1_000);
    expect(again.outcome & DUPLICATE).toBe(DUPLICATE);
    expect(world.gateways[1]!.ingest.pending).toBe(0);
    world.regions.close();
  });

  test('in a cut it fails with the name of the region, later ones of its session fail with it, and all else goes on', async () => {
    const world = new ForwardingWorld(new Random(1));
    await world.start();
    world.cutOff(1);
    const { submit, ingest } = world.gateways[1]!;
    const attempts = [submit(view('a', SESSION, 1)), submit(view('b', SESSION, 2)), submit(view('b'))];
    await world.clock.advance(FLUSH_MS + 5);
    const waiting = submit(view('b', SESSION, 3));
    await world.clock.advance(6_000);
    expect([...attempts, waiting].map(({ answers }) => answers.join())).toEqual([
      'UNAVAILABLE',
      'UNAVAILABLE',
      'settled',
      'UNAVAILABLE',
    ]);
    expect(attempts[0]!.error!.message).toContain('region ap');
    expect(attempts[0]!.error!.retryAfterMs).toBeGreaterThan(0);
    expect(ingest.pending).toBe(0);
    world.regions.mend();
    await world.clock.advance(2_000);
    const retries = [submit(view('a', SESSION, 1)), submit(view('b', SESSION, 2)), submit(view('b', SESSION, 3))];
    await world.clock.advance(1_000);
    expect(retries.map(({ answers, outcome }) => [answers.join(), outcome & DUPLICATE])).toEqual(
      Array(3).fill(['settled', 0]),
    );
    world.regions.close();
  });

  test('it is not retained', async () => {
    const retain = jest.spyOn(RetainedBatches.prototype, 'retain');
    const world = new ForwardingWorld(new Random(1));
    await world.start();
    const { submit } = world.gateways[1]!;
    submit(view('a', SESSION, 1));
    submit(view('b'));
    await world.clock.advance(FLUSH_MS + 5);
    const [, batch, , isDone] = retain.mock.calls.at(-1)!;
    expect(batch.operations.map(({ post }, i) => [post, isDone(i)])).toEqual([
      ['a', false],
      ['b', true],
    ]);
    world.regions.close();
  });

  test('at most 100,000 batches of which nothing was done here are retained, until their window is over', async () => {
    const clock = new SimulatedClock();
    const retained = new RetainedBatches(clock, 1_000, () => true);
    const queue = new BucketQueue(0, 'prod-one');
    const batch = { bucket: 0, producerId: 'prod-one', atMs: 0, operations: [view('a')] };
    for (let batchNumber = 1; batchNumber <= 100_001; batchNumber++)
      retained.retain(queue, { ...batch, batchNumber }, readInstant(clock), () => false);
    expect([queue.retained.length, queue.retained.at(-1)!.batch.operations]).toEqual([90_000, []]);
    await clock.advance(2_000);
    expect([queue.retained.length, clock.timers]).toEqual([0, 0]);
  });
});
