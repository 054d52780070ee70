import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Update } from '../../src/protocol/messages.js';
import { MetricRules } from './metric-rules.js';
import { type Change, PostCounts } from './post-counts.js';
import type { Acknowledgement, ClientOperation, Snapshot } from './transport.js';

const RUNS = 500 * Number(process.env['TEST_SCALE'] ?? 1);

const OPTIONS = ['yes', 'no'];
const RULES = new MetricRules();
RULES.receive({ choices: { vote: OPTIONS } });

/** A gateway with one post, one actor and its session. */
class Gateway {
  epoch = 1;
  version = 1;
  views = 100;
  likedByOthers = 50;
  /** The toggles that are on. */
  readonly mine = new Set<string>();
  #lastId = 0;

  get update(): Update {
    const [likes, yes, no] = ['likes', ...OPTIONS].map((metric) => this.likedByOthers + Number(this.mine.has(metric)));
    return { post: 'p', e: `e${this.epoch}`, v: this.version, likes, yes, no, views: this.views, live: 1 };
  }

  get snapshot(): Snapshot {
    return { ...this.update, mine: [...this.mine].sort() };
  }

  apply({ id, metric, value }: ClientOperation): Acknowledgement {
    if (id > this.#lastId) {
      this.#lastId = id;
      if (typeof value === 'boolean') this.toggle(metric, value);
      else this.views += value;
      this.version++;
    }
    const answer = { ok: true as const, counts: this.update };
    return typeof value === 'number' ? answer : { ...answer, on: this.mine.has(metric) };
  }

  toggle(metric: string, on: boolean): void {
    if (this.mine.has(metric) === on) return;
    this.version++;
    if (on && OPTIONS.includes(metric)) for (const option of OPTIONS) this.mine.delete(option);
    if (on) this.mine.add(metric);
    else this.mine.delete(metric);
  }

  failOver(): void {
    this.epoch++;
    this.version = 1;
  }

  others(views: number, likes: number): void {
    this.version++;
    this.views += views;
    this.likedByOthers = Math.max(0, this.likedByOthers + likes);
  }
}

/** One client of that gateway, which sends one operation at a time, and the messages to it, delivered in any order. */
class World {
  readonly gateway = new Gateway();
  readonly counts = new PostCounts(RULES);
  readonly changes: Change[] = [];
  readonly #messages: (() => void)[] = [];
  readonly #queue: ClientOperation[] = [];
  /** The gateway has seen these. */
  readonly #reached = new Set<ClientOperation>();
  #lastId = 0;

  constructor() {
    this.counts.applySnapshot(this.gateway.snapshot);
    this.collectChange();
  }

  get shown(): Change {
    return this.changes.at(-1)!;
  }

  get pending(): number {
    return this.#queue.length;
  }

  collectChange(): void {
    const change = this.counts.takeChange('remote');
    if (change) this.changes.push(change);
  }

  act(metric: string, value: boolean | number): void {
    const operation = { id: ++this.#lastId, seq: 0, post: 'p', metric, value };
    this.#queue.push(operation);
    this.counts.addPending(operation);
    this.collectChange();
  }

  /** Sends the first operation, for the first time or again; its answer may be lost on the way back. */
  send(): void {
    const operation = this.#queue[0];
    if (!operation) return;
    this.#reached.add(operation);
    this.counts.sent(operation.id);
    const answer = this.gateway.apply(operation);
    this.#messages.push(() => {
      this.counts.acknowledge(operation, answer);
      if (this.#queue[0] === operation) this.#queue.shift();
    });
    this.collectChange();
  }

  refuse(): void {
    const operation = this.#queue[0];
    // A gateway never rejects an operation that it has counted.
    if (!operation || this.#reached.has(operation)) return;
    this.counts.sent(operation.id);
    this.#queue.shift();
    this.counts.reject(operation.id);
    this.collectChange();
  }

  publish(): void {
    const { update } = this.gateway;
    this.#messages.push(() => this.counts.applyFrame(update));
  }

  answerSubscription(): void {
    const { snapshot } = this.gateway;
    this.#messages.push(() => this.counts.applySnapshot(snapshot));
  }

  /** Toggles as the same actor in another tab. */
  toggleElsewhere(metric: string, on: boolean): void {
    this.gateway.toggle(metric, on);
    this.#messages.push(() => this.counts.applyToggle(metric, on));
  }

  deliver(which: number, repeats: boolean): void {
    const index = which % this.#messages.length;
    const message = this.#messages[index];
    if (!message) return;
    if (!repeats) this.#messages.splice(index, 1);
    message();
    this.collectChange();
  }

  lose(which: number): void {
    this.#messages.splice(which % this.#messages.length, 1);
  }

  /** Sends all operations until they are answered, then delivers the snapshot of a reconnect. */
  settle(): void {
    while (this.#messages.length > 0) this.deliver(0, false);
    while (this.#queue.length > 0) {
      this.send();
      this.deliver(0, false);
    }
    this.answerSubscription();
    this.deliver(0, false);
  }
}

type Step = (world: World) => void;

const index = fc.nat(20);
const delivery: fc.Arbitrary<Step> = fc.oneof(
  fc.constant<Step>((world) => world.send()),
  fc.constant<Step>((world) => world.publish()),
  fc.constant<Step>((world) => world.answerSubscription()),
  fc.tuple(index, fc.boolean()).map<Step>(
    ([which, repeats]) =>
      (world) =>
        world.deliver(which, repeats),
  ),
  index.map<Step>((which) => (world) => world.lose(which)),
);
const growth: fc.Arbitrary<Step> = fc.oneof(
  fc.integer({ min: 1, max: 9 }).map<Step>((by) => (world) => world.act('views', by)),
  fc.constant<Step>((world) => world.act('likes', true)),
  fc.tuple(fc.nat(3), fc.nat(3)).map<Step>(
    ([views, likes]) =>
      (world) =>
        world.gateway.others(views, likes),
  ),
);
const taking: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(fc.constantFrom('likes', ...OPTIONS), fc.boolean()).map<Step>(
    ([metric, on]) =>
      (world) =>
        world.act(metric, on),
  ),
  fc.constant<Step>((world) => world.gateway.others(0, -1)),
  fc.constant<Step>((world) => world.gateway.failOver()),
  fc.tuple(fc.constantFrom('likes', ...OPTIONS), fc.boolean()).map<Step>(
    ([metric, on]) =>
      (world) =>
        world.toggleElsewhere(metric, on),
  ),
);
const refusal = fc.constant<Step>((world) => world.refuse());

function run(steps: readonly Step[]): World {
  const world = new World();
  for (const step of steps) step(world);
  return world;
}

describe('the counts of a post', () => {
  test('any order, loss and repetition of answers and frames ends in the counts of the gateway', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(delivery, growth, taking, refusal), { maxLength: 60 }), (steps) => {
        const world = run(steps);
        world.settle();
        const { likes, views, yes, no } = world.gateway.update;
        expect(world.shown.counts).toMatchObject({ likes, views, yes, no });
        expect(world.shown.mine).toEqual(world.gateway.snapshot.mine);
      }),
      { numRuns: RUNS },
    );
  });

  test('while all counts grow and all operations succeed, no shown number ever falls', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(delivery, growth), { maxLength: 60 }), (steps) => {
        const world = run(steps);
        world.settle();
        for (const { delta } of world.changes) for (const by of Object.values(delta)) expect(by).toBeGreaterThan(0);
      }),
      { numRuns: RUNS },
    );
  });

  test('a shown number is at most the counted one plus all pending operations', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(delivery, growth), { maxLength: 60 }), (steps) => {
        const world = run(steps);
        const most = world.gateway.views + 9 * world.pending;
        expect(world.shown.counts.views).toBeLessThanOrEqual(most);
      }),
      { numRuns: RUNS },
    );
  });

  test('deltas add up to the change of the shown number', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(delivery, growth, taking, refusal), { maxLength: 60 }), (steps) => {
        const { changes, shown } = run(steps);
        const sum = changes.reduce((all, { delta }) => all + (delta['likes'] ?? 0), 0);
        expect(changes[0]!.counts.likes + sum).toBe(shown.counts.likes);
      }),
      { numRuns: RUNS },
    );
  });

  test('rejected operations leave no trace: the counts equal those of a client without operations', () => {
    const acting = fc.constantFrom<[string, boolean | number]>(
      ...(['likes', ...OPTIONS].flatMap((metric) => [true, false].map((on) => [metric, on])) as [string, boolean][]),
      ['views', 3],
    );
    const hearing = fc.constantFrom('publish', 'others', 'refuse');
    fc.assert(
      fc.property(fc.array(fc.oneof(acting, hearing), { maxLength: 40 }), (steps) => {
        const world = new World();
        const onlooker = new PostCounts(RULES);
        onlooker.applySnapshot(world.gateway.snapshot);
        for (const step of steps) {
          if (typeof step !== 'string') world.act(...step);
          else if (step === 'refuse') world.refuse();
          else if (step === 'others') world.gateway.others(1, 1);
          else {
            world.publish();
            world.deliver(0, false);
            onlooker.applyFrame(world.gateway.update);
          }
        }
        while (world.pending > 0) world.refuse();
        const seen = onlooker.takeChange('remote')!;
        expect(world.shown.counts).toEqual(seen.counts);
        expect(world.shown.mine).toEqual(seen.mine);
      }),
      { numRuns: RUNS },
    );
  });
});
