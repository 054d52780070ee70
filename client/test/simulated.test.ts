import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Transport } from '../src/transport.js';
import { POSTS, type SimulatedPage, SimulatedWorld } from './simulated-world.js';

const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
/** Longer than the longest pause between two probes with a socket. */
const HEALED_MS = 1_500_000;
/** Longer than any retry, any reconnect, and the time until an operation acknowledged over HTTP is dropped. */
const IDLE_MS = 90_000;

/** All of these visits are within the time that an entry is kept. */
const VISITS_MAX = 30;

type Step = (world: SimulatedWorld) => void;

const page = fc.nat(2);
const post = fc.constantFrom(...POSTS);
const TALLIES = ['views', 'shares'];
const tally = fc.constantFrom(...TALLIES);
const toggle = fc.constantFrom('likes', 'saves');

const adding = fc.tuple(page, post, tally, fc.integer({ min: 1, max: 9 })).map(
  ([n, id, metric, by]): Step =>
    ({ pages }) =>
      pages[n]!.act(id, metric, by),
);
const turningOn = fc.tuple(page, post, toggle).map(
  ([n, id, metric]): Step =>
    ({ pages }) =>
      pages[n]!.act(id, metric, true),
);
const turningOff = fc.tuple(page, post, toggle).map(
  ([n, id, metric]): Step =>
    ({ pages }) =>
      pages[n]!.act(id, metric, false),
);
const others = fc.tuple(post, tally).map(
  ([id, metric]): Step =>
    ({ gateway }) =>
      gateway.addByOthers(id, metric, 3),
);
const interrupting = fc.oneof(
  page.map(
    (n): Step =>
      ({ network }) =>
        network.cut(n),
  ),
  page.map(
    (n): Step =>
      ({ network }) =>
        network.cut(n, { retryAfterMs: 3_000 }),
  ),
  fc.constant<Step>(({ network }) => (network.refusals += 1)),
  fc.tuple(page, fc.boolean()).map(
    ([n, hidden]): Step =>
      ({ pages }) =>
        pages[n]!.setHidden(hidden),
  ),
  fc.tuple(page, post).map(
    ([n, id]): Step =>
      ({ pages }) =>
        pages[n]!.subscribe(id)(),
  ),
  fc.boolean().map(
    (done): Step =>
      ({ gateway }) =>
        void gateway.refusals.push({ code: 'UNAVAILABLE', done }),
  ),
  fc.constant<Step>(({ gateway }) => void gateway.refusals.push({ code: 'RATE_LIMITED', done: false })),
);
const blocking = fc.oneof(
  fc.constantFrom('socket' as const, 'events' as const).map(
    (kind): Step =>
      ({ network }) =>
        network.block(kind),
  ),
  fc.constant<Step>(({ network }) => network.blocked.clear()),
);
const disturbing = fc.oneof(
  fc.tuple(page, post).map(
    ([n, id]): Step =>
      ({ pages }) =>
        pages[n]!.act(id, 'no-such-metric', 1),
  ),
  fc.constant<Step>(({ gateway }) => gateway.newEpoch()),
);
const leaving = fc.oneof(
  page.map(
    (n): Step =>
      (world) =>
        world.revisit(n),
  ),
  fc.nat(2).map(
    (accepted): Step =>
      ({ gateway }) =>
        void gateway.partialLists.push(accepted),
  ),
  fc.boolean().map(
    (hasLog): Step =>
      ({ gateway }) =>
        void (gateway.hasLog = hasLog),
  ),
);
const growing = fc.oneof(adding, turningOn, others, interrupting);
const anything = fc.oneof(adding, turningOn, turningOff, others, interrupting, blocking, disturbing);
/** From less than a round trip to more than any deadline. */
const pauseMs = fc.constantFrom(0, 10, 40, 200, 1_000, 8_000, 70_000);
const kinds = fc.oneof(
  { weight: 3, arbitrary: fc.constant(['socket', 'events'] as const) },
  { weight: 1, arbitrary: fc.constant(['events'] as const) },
);

interface Story {
  readonly seed: number;
  /** The transports of each client. */
  readonly transports: readonly (readonly Transport['kind'][])[];
  /** Steps, each followed by a pause. */
  readonly steps: readonly (readonly [Step, number])[];
  /** Until this step no socket gets through. */
  readonly socketsFrom: number;
}

function stories(step: fc.Arbitrary<Step>): fc.Arbitrary<Story> {
  const steps = fc.array(fc.tuple(step, pauseMs), { maxLength: 30 });
  return fc.record({ seed: fc.nat(), transports: fc.tuple(kinds, kinds, kinds), steps, socketsFrom: fc.nat(10) });
}

/** @param check called after each step and its pause */
async function run(
  { seed, transports, steps, socketsFrom }: Story,
  check: (world: SimulatedWorld) => void = () => undefined,
): Promise<SimulatedWorld> {
  const world = new SimulatedWorld(seed, transports);
  world.network.block('socket');
  for (const [at, [step, ms]] of steps.entries()) {
    if (at === socketsFrom) world.network.blocked.clear();
    step(world);
    await world.clock.advance(ms);
    check(world);
  }
  return world;
}

describe('clients of a simulated gateway', () => {
  test('after any faults all clients show the counts of the gateway, and each operation counts as its outcome says', async () => {
    await fc.assert(
      fc.asyncProperty(stories(anything), async (story) => {
        const world = await run(story);
        for (const shown of world.pages) shown.setHidden(false);
        await world.heal(HEALED_MS);
        for (const { name, value, outcome } of world.operations) {
          const applied = world.gateway.applied.get(name) ?? 0;
          if (outcome === 'done') expect(applied).toBeGreaterThan(0);
          if (outcome === 'BAD_REQUEST') expect(applied).toBe(0);
          if (typeof value === 'number') expect(applied).toBeLessThanOrEqual(value);
          if (typeof value === 'number' && outcome === 'done') expect(applied).toBe(value);
          expect(['done', 'BAD_REQUEST', 'OUTCOME_UNKNOWN']).toContain(outcome);
        }
        for (const { live, actor, kinds: used, changes: changesByPost } of world.pages) {
          expect(live.state).toBe('synced');
          for (const [id, changes] of changesByPost) {
            const { likes, saves, views, shares } = world.gateway.update(id) as unknown as Record<string, number>;
            const last = changes.at(-1)!;
            expect(last.counts).toMatchObject({ likes, saves, views, shares });
            // Event streams don't deliver toggles.
            if (used[0] === 'socket') expect(last.mine).toEqual(world.gateway.mine(id, actor).sort());
          }
        }
      }),
      { numRuns: 1_000 * SCALE },
    );
  });

  test('while all counts grow and no error is final, each operation counts and no number falls, whatever interrupts', async () => {
    await fc.assert(
      fc.asyncProperty(stories(growing), async (story) => {
        const world = await run(story);
        // Hidden pages stay hidden.
        await world.heal(IDLE_MS);
        for (const { outcome } of world.operations) expect(outcome).toBe('done');
        for (const { changes: changesByPost, actor } of world.pages) {
          for (const { delta } of [...changesByPost.values()].flat()) {
            for (const [metric, by] of Object.entries(delta)) {
              // Two tabs of one actor each show their own like, until they receive the other's.
              if (TALLIES.includes(metric) || actor === 'bob') expect(by).toBeGreaterThan(0);
            }
          }
        }
      }),
      { numRuns: 1_000 * SCALE },
    );
  });

  test('an operation of a page that ends is counted once, by its last request or by the next visit', async () => {
    const step = fc.oneof(adding, adding, turningOn, turningOff, leaving, leaving, interrupting, blocking);
    await fc.assert(
      fc.asyncProperty(stories(step), async (story) => {
        const world = await run(story);
        await world.heal(IDLE_MS);
        // A visit whose request is lost leaves it to the next one.
        for (let visit = 0; visit < VISITS_MAX && world.storedItems > 0; visit++) {
          for (const n of world.pages.keys()) world.revisit(n);
          await world.clock.advance(IDLE_MS);
        }
        for (const { name, value, outcome } of world.operations) {
          const applied = world.gateway.applied.get(name) ?? 0;
          if (typeof value === 'number') expect(applied).toBeLessThanOrEqual(value);
          if (outcome !== 'OUTCOME_UNKNOWN') expect(applied).toBeGreaterThanOrEqual(Number(value || 1));
          expect(['done', undefined, 'OUTCOME_UNKNOWN']).toContain(outcome);
        }
      }),
      { numRuns: 1_000 * SCALE },
    );
  });

  test('with no operation waiting, the only page of an actor shows its toggles, over any transport', async () => {
    const turning = fc.boolean().map(
      (on): Step =>
        ({ pages }) =>
          pages[2]!.act('p', 'likes', on),
    );
    await fc.assert(
      fc.asyncProperty(stories(fc.oneof(turning, turning, blocking, interrupting)), async (story) => {
        await run(story, ({ pages, gateway }) => {
          const only = pages[2]!;
          const change = only.lastChange('p');
          if (change && only.live.waiting === 0) expect(change.mine).toEqual(gateway.mine('p', only.actor));
        });
      }),
      { numRuns: 1_000 * SCALE },
    );
  });

  test('a client reconnects at once when its page is shown again or its network is back', async () => {
    const both = ['socket', 'events'] as const;
    const { clock, network, pages } = new SimulatedWorld(1, [both, both, both]);
    const [shown] = pages as [SimulatedPage];
    await clock.advance(1_000);
    for (const kind of both) network.block(kind);
    await clock.advance(200_000);
    network.blocked.clear();
    expect(shown.live.state).toBe('syncing');
    shown.setHidden(false);
    await clock.advance(1_000);
    expect(shown.live.state).toBe('synced');
  });

  test('a client whose page is shown again waits for the retryAfterMs of a bye', async () => {
    const both = ['socket', 'events'] as const;
    const { clock, network, pages } = new SimulatedWorld(1, [both, both, both]);
    const [shown] = pages as [SimulatedPage];
    await clock.advance(1_000);
    network.cut(0, { retryAfterMs: 60_000 });
    await clock.advance(20_000);
    shown.setHidden(false);
    await clock.advance(39_000);
    expect(shown.live.state).toBe('syncing');
    await clock.advance(10_000);
    expect(shown.live.state).toBe('synced');
  });

  test('a closed client leaves no timer and no connection behind', async () => {
    await fc.assert(
      fc.asyncProperty(stories(anything), async (story) => {
        const world = await run(story);
        for (const { live } of world.pages) live.close();
        expect(world.network.connections.size).toBe(0);
        await world.clock.advance(IDLE_MS);
        expect(world.clock.timers).toBe(0);
        expect(world.operations.every(({ outcome }) => outcome !== undefined)).toBe(true);
      }),
      { numRuns: 100 * SCALE },
    );
  });
});
