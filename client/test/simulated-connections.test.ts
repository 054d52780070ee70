import { describe, expect, test } from '@jest/globals';
import type { Transport } from '../src/transport.js';
import { SimulatedWorld } from './simulated-world.js';

const BOTH = ['socket', 'events'] as const;
/** Longer than a socket's deadline to open. */
const SWALLOWED_MS = 10_000;
const PROBE_MS = 5_000;

/** A world whose first page alone has anything to do. */
function startWorld(seed = 1): SimulatedWorld {
  return new SimulatedWorld(seed, [BOTH, BOTH, BOTH]);
}

/** The transports of the first page's connections, those that are not open included. */
function kindsOf({ network }: SimulatedWorld): Transport['kind'][] {
  return [...network.connections].filter(({ client }) => client === 0).map(({ kind }) => kind);
}

describe('a client that connects', () => {
  test('it uses a socket alone where one opens within two seconds', async () => {
    const world = startWorld();
    world.network.openingMs.set('socket', 1_800);
    await world.clock.advance(1_790);
    expect(kindsOf(world)).toEqual(['socket']);
    await world.clock.advance(400);
    expect(world.pages[0]!.live.state).toBe('synced');
    expect(kindsOf(world)).toEqual(['socket']);
    await world.clock.advance(60_000);
    expect(kindsOf(world)).toEqual(['socket']);
  });

  test('where sockets are swallowed it shows counts within 3 s, and at once after a reload', async () => {
    const world = startWorld();
    world.network.block('socket', SWALLOWED_MS);
    world.revisit(0);
    await world.clock.advance(3_000);
    expect(world.pages[0]!.lastChange('p')).toBeDefined();
    expect(kindsOf(world)).toEqual(['events']);
    world.revisit(0);
    await world.clock.advance(300);
    expect(world.pages[0]!.lastChange('p')).toBeDefined();
  });

  test('where sockets are refused it uses a stream at once', async () => {
    const world = startWorld();
    world.network.block('socket', 20);
    world.revisit(0);
    await world.clock.advance(300);
    expect(world.pages[0]!.lastChange('p')).toBeDefined();
  });

  test('a socket that opens late replaces the stream, and comes first after a reload', async () => {
    const world = startWorld();
    world.network.block('socket', SWALLOWED_MS);
    world.revisit(0);
    await world.clock.advance(3_000);
    world.network.blocked.clear();
    await world.clock.advance(PROBE_MS);
    expect(kindsOf(world)).toEqual(['socket']);
    world.revisit(0);
    await world.clock.advance(10);
    expect(kindsOf(world)).toEqual(['socket']);
  });

  test('a client with a stream probes the socket at once when the network is back', async () => {
    const world = startWorld();
    world.network.block('socket', 20);
    world.revisit(0);
    // The pauses between two probes are long by now.
    await world.clock.advance(400_000);
    world.network.blocked.clear();
    expect(kindsOf(world)).toEqual(['events']);
    world.pages[0]!.change('online');
    await world.clock.advance(200);
    expect(kindsOf(world)).toEqual(['socket']);
  });

  test('a stream that stays silent after a reload gives way to a socket', async () => {
    const world = startWorld();
    world.network.block('socket', SWALLOWED_MS);
    world.revisit(0);
    await world.clock.advance(3_000);
    world.network.blocked.clear();
    world.network.block('events', SWALLOWED_MS);
    world.revisit(0);
    await world.clock.advance(3_000);
    expect(kindsOf(world)).toEqual(['socket']);
    expect(world.pages[0]!.lastChange('p')).toBeDefined();
  });
});

describe('a client whose page changes', () => {
  test('a page that is left disconnects at once, and is current soon after it is shown again', async () => {
    const world = startWorld();
    const [page] = world.pages as [SimulatedWorld['pages'][0]];
    await world.clock.advance(1_000);
    page.change('left');
    expect(kindsOf(world)).toEqual([]);
    expect(page.live.state).toBe('syncing');
    world.gateway.addByOthers('p', 'views', 3);
    await world.clock.advance(20_000);
    page.change('shown');
    await world.clock.advance(300);
    expect(page.live.state).toBe('synced');
    expect(page.lastChange('p')!.counts.views).toBe(3);
  });

  test.each(['online', 'shown'] as const)(
    'a lost connection that looks open is right within 4 s of the page being %s, and stale meanwhile',
    async (change) => {
      for (let seed = 1; seed <= 20; seed++) {
        const world = startWorld(seed);
        const [page] = world.pages as [SimulatedWorld['pages'][0]];
        await world.clock.advance(2_000);
        world.network.stall(0);
        world.gateway.addByOthers('p', 'views', 3);
        await world.clock.advance(1_000);
        expect(page.live.state).toBe('synced');
        page.change(change);
        await world.clock.advance(310);
        expect(page.live.state).toBe('syncing');
        await world.clock.advance(3_690);
        expect(page.live.state).toBe('synced');
        expect(page.lastChange('p')!.counts.views).toBe(3);
      }
    },
  );

  test('a connection that works is checked once for changes at the same time, and its counts are never called stale', async () => {
    const world = startWorld();
    const [page] = world.pages as [SimulatedWorld['pages'][0]];
    await world.clock.advance(2_000);
    const states: string[] = [];
    page.live.on('syncing', () => states.push('syncing'));
    const before = world.gateway.subscriptions;
    for (let n = 0; n < 20; n++) {
      for (const change of ['shown', 'online'] as const) page.change(change);
      await world.clock.advance(100);
    }
    expect(world.gateway.subscriptions - before).toBe(20);
    expect(states).toEqual([]);
  });
});
