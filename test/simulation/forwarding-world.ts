import { NEVER } from 'rxjs';
import { COUNTING_RULES, type CountingRules } from '../../src/counters/apply.js';
import type { Batch, CommitResult } from '../../src/counters/batch.js';
import type { Key64 } from '../../src/counters/ids.js';
import { VIEWS } from '../../src/counters/metrics.js';
import type { Operation } from '../../src/counters/operation.js';
import { ForwardedIntake } from '../../src/ingest/forwarded-intake.js';
import { HOME_RULES, type HomeRules } from '../../src/counters/replication/home-rules.js';
import type { CounterStore, PostView } from '../../src/store/counter-store.js';
import type { MilestoneStore } from '../../src/store/milestone-store.js';
import type { FaultyStore } from './faulty-store.js';
import type { ForwardedOperation } from '../../src/counters/replication/forwarded-operation.js';
import type { Forwarding, WaitReason } from '../../src/ingest/forwarding.js';
import type { Random } from '../support/random.js';
import { type Attempt, IngestWorld, like, view } from './ingest-world.js';
import { RegionsWorld } from './regions-world.js';

/** The milestone of views of post `a`. */
export const N = 30;
/** Longer than any history: a failover may lose all of it. */
const REPLAY_WINDOW_MS = 60_000;
const LATENCY_MS = 40;
const TIMEOUT_MS = 5_000;
const RETRY_MS = 500;

type Region = RegionsWorld['regions'][number];

/** Three regions, a gateway in each that forwards to the others, and clients that retry as browsers do. */
export class ForwardingWorld {
  readonly regions: RegionsWorld;
  readonly gateways: readonly { readonly ingest: IngestWorld['ingest']; readonly submit: IngestWorld['submit'] }[];
  readonly clients: readonly Client[];

  readonly #stores: readonly FaultyStore[];

  constructor(
    readonly random: Random,
    rules: CountingRules = COUNTING_RULES,
    homes: HomeRules = HOME_RULES,
  ) {
    this.regions = new RegionsWorld(random, 'none', { intervalMs: 200, rules, homes });
    const intakes = new Map<string, ForwardedIntake>();
    const worlds = this.regions.regions.map((region, i) => {
      const forwarding = new SimulatedForwarding(this, region, (name) => intakes.get(name)!);
      return new IngestWorld({
        clock: this.clock,
        inner: new FollowingStore(region),
        seed: i + 1,
        replayWindowMs: REPLAY_WINDOW_MS,
        forwarding,
      });
    });
    for (const [i, { name }] of this.regions.regions.entries())
      intakes.set(name, new ForwardedIntake(worlds[i]!.ingest));
    this.#stores = worlds.map(({ store }) => store);
    this.gateways = worlds.map((world) => ({ ingest: world.ingest, submit: world.submit.bind(world) }));
    this.clients = worlds.flatMap((world, i) => [1, 2, 3].map((n) => new Client(world, 10 * i + n)));
  }

  get clock(): RegionsWorld['clock'] {
    return this.regions.clock;
  }

  /** Arms the milestone in the first region, so that the others forward once it has counted `from` views. */
  async start(from = 1): Promise<void> {
    await this.clock.advance(2_000);
    await this.regions.regions[0]!.primary.milestones.arm('a', VIEWS, N, { mode: 'strict', from });
    for (const region of this.regions.regions) region.replicate();
    this.gateways[0]!.submit(view('a'));
    await this.clock.advance(2_000);
  }

  cutOff(index: number): void {
    for (const other of [0, 1, 2]) {
      this.regions.cut(index, other);
      this.regions.cut(other, index);
    }
  }

  replicate(index: number): void {
    this.regions.regions[index]!.replicate();
  }

  /** The region's store loses what its replica lacks. Other regions reach it at once, and its gateway after a while. */
  async failOver(index: number, downMs: number): Promise<void> {
    const store = this.#stores[index]!;
    if (!store.available) return;
    store.down();
    await this.regions.regions[index]!.failOver(false);
    this.clock.after(downMs, () => store.up());
  }

  heal(): void {
    this.regions.mend();
  }

  /** @returns the invariant of home-invariants.ts that is broken, and how; `''`: none is */
  async findFault(): Promise<string> {
    const waiting = this.clients.filter(({ isDone }) => !isDone).length;
    if (waiting > 0) return `answered: ${waiting} clients still wait`;
    const attempts = this.clients.flatMap((client) => client.sent.flatMap((one) => one.attempts));
    const confused = attempts.filter(({ answers }) => answers.length !== 1).length;
    if (confused > 0) return `answered: ${confused} attempts have not one answer`;
    const sent = this.clients.flatMap((client) => client.sent.map(({ operation }) => operation));
    const counted = await this.#totals();
    for (const post of ['a', 'b']) {
      const views = sent.filter((one) => one.post === post && one.kind === 'add').length + (post === 'a' ? 1 : 0);
      const totals = counted.map((of) => of.get(post)!);
      const text = `${views} views of ${post} were sent, and ${totals.join()} counted`;
      if (new Set(totals).size > 1) return `agreed: ${text}`;
      if (totals[0] !== views) return `${totals[0]! < views ? 'counted' : 'H4'}: ${text}`;
    }
    const records = await Promise.all(
      this.regions.regions.map(({ primary }) => primary.milestones.read('a', VIEWS).then(({ reached }) => reached)),
    );
    const winners = new Set(records.flat().map(({ session, seq, total }) => `${session?.lo} ${seq} ${total}`));
    if (counted[0]!.get('a')! < N) return winners.size === 0 ? '' : 'E: somebody is named too early';
    if (winners.size === 0) return 'L: nobody is named';
    return winners.size === 1 ? '' : `U: ${winners.size} winners`;
  }

  #totals(): Promise<Map<string, number>[]> {
    return Promise.all(
      this.regions.regions.map(async ({ primary }) => {
        const views = await primary.read(['a', 'b'], null);
        return new Map(views.map(({ counts }) => [counts.post, counts.totals[VIEWS]!]));
      }),
    );
  }
}

/** The store of a region, on whichever server it is now. */
class FollowingStore implements CounterStore {
  readonly changes = NEVER;
  readonly reconnected = NEVER;
  readonly available = true;
  readonly allReachable = true;
  readonly replication = null;
  readonly replayWindowMs = 0;
  readonly description = {};

  constructor(private readonly region: Region) {}

  get milestones(): MilestoneStore {
    return this.region.primary.milestones;
  }

  commit(batch: Batch): Promise<CommitResult> {
    return this.region.primary.commit(batch);
  }

  read(posts: readonly string[], actor: Key64 | null): Promise<PostView[]> {
    return this.region.primary.read(posts, actor);
  }

  watch(): void {}

  unwatch(): void {}

  reportViewers(): void {}

  close(): Promise<void> {
    return Promise.resolve();
  }
}

class SimulatedForwarding implements Forwarding {
  constructor(
    private readonly world: ForwardingWorld,
    private readonly region: Region,
    private readonly intakeOf: (name: string) => ForwardedIntake,
  ) {}

  forwardTo(operations: readonly Operation[]): Promise<readonly (string | null)[]> {
    return this.region.primary.milestones.forwardTo(operations);
  }

  async forward(name: string, operations: readonly ForwardedOperation[]): Promise<readonly number[]> {
    const { regions } = this.world;
    const to = regions.regions.find((one) => one.name === name)!;
    await this.#pause(this.world.random.below(LATENCY_MS));
    if (regions.isCut(this.region, to)) return this.#timeout();
    const outcomes = await this.intakeOf(name).accept(operations);
    await this.#pause(this.world.random.below(LATENCY_MS));
    return regions.isCut(to, this.region) ? this.#timeout() : outcomes;
  }

  async findWaitReason({ post, metric }: Operation): Promise<WaitReason> {
    const { waitingFor } = await this.region.primary.milestones.read(post, metric);
    return { regions: waitingFor, cause: 'unconfirmed' };
  }

  async #timeout(): Promise<never> {
    await this.#pause(this.world.random.chance(0.5) ? 1 : TIMEOUT_MS);
    throw new Error('no answer in time');
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.world.clock.after(ms, resolve));
  }
}

interface Sent {
  readonly operation: Operation;
  readonly attempts: Attempt[];
}

/** Sends without waiting. After an error it sends nothing for a while, and then all that failed, in order, as a connection requires it. */
class Client {
  readonly sent: Sent[] = [];
  #isBlocked = false;

  constructor(
    private readonly world: IngestWorld,
    private readonly number: number,
  ) {}

  get isDone(): boolean {
    return this.sent.every(({ attempts }) => attempts.at(-1)?.answers[0] === 'settled');
  }

  act(random: Random): void {
    for (let n = 1 + random.below(3); n > 0; n--) {
      const mark = [{ hi: 2, lo: this.number }, this.sent.length + 1] as const;
      const post = random.pick(['a', 'a', 'b']);
      const actor = { hi: 1, lo: this.number };
      const operation = random.chance(0.7) ? view(post, ...mark) : like('b', actor, random.chance(0.5), ...mark);
      const sent = { operation, attempts: [] };
      this.sent.push(sent);
      if (!this.#isBlocked) this.#send(sent);
    }
  }

  #send(sent: Sent): void {
    sent.attempts.push(
      this.world.submit(sent.operation, ({ answers }) => this.#answered(answers.at(-1) === 'settled')),
    );
  }

  #answered(isSettled: boolean): void {
    if (isSettled || this.#isBlocked) return;
    this.#isBlocked = true;
    this.world.clock.after(RETRY_MS, () => {
      this.#isBlocked = false;
      for (const one of this.sent) {
        const last = one.attempts.at(-1);
        const failed = last === undefined || (last.answers.length > 0 && last.answers[0] !== 'settled');
        if (failed) this.#send(one);
      }
    });
  }
}
