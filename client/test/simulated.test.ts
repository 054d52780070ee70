import { beforeAll, describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import { checkEffects } from './simulated-effects.js';
import { METRICS, OPTIONS } from './simulated-post.js';
import {
  adding,
  anything,
  blocking,
  growing,
  interrupting,
  leaving,
  run,
  type Step,
  stories,
  turningOff,
  turningOn,
} from './simulated-stories.js';
import { type SimulatedPage, SimulatedWorld } from './simulated-world.js';

const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
/** Longer than the longest pause between two probes with a socket. */
const HEALED_MS = 1_500_000;
/** Longer than any retry, any reconnect, and the time until an operation acknowledged over HTTP is dropped. */
const IDLE_MS = 90_000;

/** The stories cut connections for long. */
const EXPECTED_WARNING = 'tallycast: no gateway answers at http://simulated';

beforeAll(() => {
  const { warn } = console;
  jest.spyOn(console, 'warn').mockImplementation((text) => text === EXPECTED_WARNING || warn(text));
});

describe('clients of a simulated gateway', () => {
  test('after any faults all clients show the counts of the gateway, and each operation counts as its outcome says', async () => {
    await fc.assert(
      fc.asyncProperty(stories(anything), async (story) => {
        const world = await run(story);
        for (const shown of world.pages) shown.setHidden(false);
        await world.heal(HEALED_MS);
        checkEffects(world, true);
        for (const { outcome } of world.operations)
          expect(['done', 'BAD_REQUEST', 'OUTCOME_UNKNOWN']).toContain(outcome);
        for (const { live, actor, kinds: used, changes: changesByPost } of world.pages) {
          expect(live.state).toBe('synced');
          for (const [id, changes] of changesByPost) {
            const last = changes.at(-1)!;
            const counted = world.gateway.update(id);
            for (const metric of METRICS) expect(last.counts[metric]).toBe(counted[metric]);
            for (const { mine } of changes) expect(OPTIONS.filter((one) => mine.includes(one)).length).toBeLessThan(2);
            // Event streams of older gateways do not deliver toggles.
            if (used[0] === 'socket' || !world.gateway.isOld)
              expect(last.mine).toEqual(world.gateway.mine(id, actor).sort());
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
        for (const { outcome } of world.pages.flatMap(({ operations }) => operations)) expect(outcome).toBe('done');
        await world.visitUntilSent(IDLE_MS);
        checkEffects(world, false);
        const bobs = world.allPages.find(({ actor }) => actor === 'bob');
        for (const shown of world.allPages) {
          for (const { delta } of [...shown.changes.values()].flat()) {
            for (const [metric, by] of Object.entries(delta)) {
              // Pages of one actor, one after the other or two tabs, show their own like until they receive the other's.
              if (metric !== 'likes' || shown === bobs) expect(by).toBeGreaterThan(0);
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
        await world.visitUntilSent(IDLE_MS);
        checkEffects(world, true);
        for (const { outcome } of world.operations) expect(['done', undefined, 'OUTCOME_UNKNOWN']).toContain(outcome);
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

  test('over sockets the numbers of a choice always show the one option that is on for its only actor', async () => {
    const choosing = fc.tuple(fc.constantFrom(...OPTIONS), fc.boolean()).map(
      ([one, on]): Step =>
        ({ pages }) =>
          pages[2]!.act('p', one, on),
    );
    await fc.assert(
      fc.asyncProperty(stories(fc.oneof(choosing, choosing, interrupting)), async (story) => {
        const world = await run({ ...story, transports: [['socket'], ['socket'], ['socket']], socketsFrom: 0 });
        for (const { counts, mine } of world.pages[2]!.changes.get('p') ?? []) {
          expect(OPTIONS.filter((one) => counts[one] === 1)).toEqual(mine);
        }
      }),
      { numRuns: 400 * SCALE },
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
