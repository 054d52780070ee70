import fc from 'fast-check';
import type { Transport } from '../src/transport.js';
import type { Fault } from './simulated-faults.js';
import { OPTIONS } from './simulated-post.js';
import { POSTS, SimulatedWorld } from './simulated-world.js';

export type Step = (world: SimulatedWorld) => void;

const page = fc.nat(2);
const post = fc.constantFrom(...POSTS);
const tally = fc.constantFrom('views', 'shares');
const toggle = fc.constantFrom('likes', 'saves', ...OPTIONS);

export const adding = fc.tuple(page, post, tally, fc.integer({ min: 1, max: 9 })).map(
  ([n, id, metric, by]): Step =>
    ({ pages }) =>
      pages[n]!.act(id, metric, by),
);
const visiting = fc.tuple(page, post).map(
  ([n, id]): Step =>
    ({ pages }) =>
      pages[n]!.act(id, 'readers', 1),
);
export const turningOn = fc.tuple(page, post, toggle).map(
  ([n, id, metric]): Step =>
    ({ pages }) =>
      pages[n]!.act(id, metric, true),
);
export const turningOff = fc.tuple(page, post, toggle).map(
  ([n, id, metric]): Step =>
    ({ pages }) =>
      pages[n]!.act(id, metric, false),
);
const others = fc.tuple(post, tally).map(
  ([id, metric]): Step =>
    ({ gateway }) =>
      gateway.addByOthers(id, metric, 3),
);
export const interrupting = fc.oneof(
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
  fc.tuple(page, fc.constantFrom(5, 2_000, 60_000)).map(
    ([n, ms]): Step =>
      ({ pages }) =>
        pages[n]!.leaveFor(ms),
  ),
  page.map((n): Step => ({ network, pages }) => {
    network.stall(n);
    pages[n]!.change('online');
  }),
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
  fc.constantFrom('RATE_LIMITED' as const, 'OVERLOADED' as const).map(
    (code): Step =>
      ({ gateway }) =>
        void gateway.refusals.push({ code, done: false }),
  ),
);
const transport = fc.constantFrom('socket' as const, 'events' as const);
export const blocking = fc.oneof(
  fc.tuple(transport, fc.constantFrom(20, 2_000, 10_000)).map(
    ([kind, failureMs]): Step =>
      ({ network }) =>
        network.block(kind, failureMs),
  ),
  fc.tuple(transport, fc.constantFrom(0, 1_900, 4_000)).map(
    ([kind, ms]): Step =>
      ({ network }) =>
        void network.openingMs.set(kind, ms),
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
export const leaving = fc.oneof(
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
const liking = fc.tuple(page, post).map(
  ([n, id]): Step =>
    ({ pages }) =>
      pages[n]!.act(id, 'likes', true),
);
export const growing = fc.oneof(adding, visiting, liking, others, interrupting, leaving);
export const anything = fc.oneof(adding, visiting, turningOn, turningOff, others, interrupting, blocking, disturbing);
/** From less than a round trip to more than any deadline. */
const pauseMs = fc.constantFrom(0, 10, 40, 200, 1_000, 8_000, 70_000);
const kinds = fc.oneof(
  { weight: 3, arbitrary: fc.constant(['socket', 'events'] as const) },
  { weight: 1, arbitrary: fc.constant(['events'] as const) },
);

export interface Story {
  readonly seed: number;
  /** The transports of each client. */
  readonly transports: readonly (readonly Transport['kind'][])[];
  /** Steps, each followed by a pause. */
  readonly steps: readonly (readonly [Step, number])[];
  /** Until this step no socket gets through. */
  readonly socketsFrom: number;
  readonly isOldGateway: boolean;
}

export function stories(step: fc.Arbitrary<Step>): fc.Arbitrary<Story> {
  const steps = fc.array(fc.tuple(step, pauseMs), { maxLength: 30 });
  const isOldGateway = fc.boolean();
  return fc.record({
    seed: fc.nat(),
    transports: fc.tuple(kinds, kinds, kinds),
    steps,
    socketsFrom: fc.nat(10),
    isOldGateway,
  });
}

/**
 * @param check called after each step and its pause
 * @param fault planted in all clients
 */
export async function run(
  { seed, transports, steps, socketsFrom, isOldGateway }: Story,
  check: (world: SimulatedWorld) => void = () => undefined,
  fault: Fault = {},
): Promise<SimulatedWorld> {
  const world = new SimulatedWorld(seed, transports, fault);
  world.gateway.isOld = isOldGateway;
  world.network.block('socket');
  for (const [at, [step, ms]] of steps.entries()) {
    if (at === socketsFrom) world.network.blocked.clear();
    step(world);
    await world.clock.advance(ms);
    check(world);
  }
  return world;
}
