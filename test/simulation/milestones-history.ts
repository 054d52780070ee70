import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import { type Operation, REACHED } from '../../src/counters/operation.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { Random } from '../support/random.js';
import { GOOD } from './faulty-store.js';
import { fail, findBrokenInvariant, HistoryActions } from './history-actions.js';
import { conductOf, MilestonesClient, MilestonesGateway } from './milestones-gateway.js';
import { describe, type Winner } from './milestones-ledger.js';
import type { MilestoneRules } from './milestones-rules.js';
import { METRICS, MilestonesStore, POSTS } from './milestones-store.js';
import { SimulatedClock } from './simulated-clock.js';

const STEPS = 70;
const STEP_MS = 400;
const GATEWAYS = 3;
const CLIENTS = 6;
/** Gateways retain batches for this long, which is also the most that a failover loses. */
const RETAIN_MS = 30_000;
/** Below RETAIN_MS: clocks count whole milliseconds. */
const LAG_MAX_MS = 29_990;
/** Batches that waited for this long are committed when they are older than what a failover loses. */
const OUTAGE_MAX_MS = 60_000;
/** By then all operations are acknowledged. */
const RECOVERY_MS = 20_000;
const FINAL_MS = 30_000;
const TARGETS = POSTS.flatMap((post) => METRICS.list.map(({ index: metric }) => ({ post, metric })));

/** Events of a history. Without them it would prove nothing. */
export interface HistoryStats {
  failovers: number;
  kills: number;
  finals: number;
  /** Milestones that another operation had reached in a history that a failover ended. */
  overturned: number;
  missed: number;
  /** Final milestones of toggles whose total is below the number again. */
  below: number;
  /** One operation that reached several. */
  several: number;
  retried: number;
}

const NO_STATS = { failovers: 0, kills: 0, finals: 0, overturned: 0, missed: 0, below: 0, several: 0, retried: 0 };

/** Runs a history of operations and failures. @returns the invariant that is broken; `''`: none is */
export async function runMilestonesHistory(
  seed: number,
  rules: MilestoneRules,
): Promise<{ readonly fault: string; readonly stats: HistoryStats }> {
  const history = new MilestonesHistory(new Random(seed), rules);
  const fault = await findBrokenInvariant(() => history.run());
  history.end();
  return { fault, stats: history.stats };
}

class MilestonesHistory {
  readonly stats: HistoryStats = { ...NO_STATS };
  readonly #clock = new SimulatedClock();
  readonly #server: MilestonesStore;
  readonly #gateways: MilestonesGateway[];
  readonly #clients: readonly MilestonesClient[];
  readonly #actions: HistoryActions;
  /** Counts views only. */
  readonly #otherRegion = new ReferenceStore(METRICS, 1, { region: 'other', epoch: 1, nonce: 1 }, () => 1);
  #importedBatches = 0;
  /** By post, metric and number. */
  readonly #finals = new Map<string, string>();
  /** 0: no gateway replays anything. */
  readonly #retainMs: number;
  readonly #slowness: number;
  /** The last seqs of the clients. */
  readonly #seqs = new Array<number>(CLIENTS).fill(0);
  #operations = 0;
  #isUp = true;
  #fault = '';

  constructor(
    private readonly random: Random,
    rules: MilestoneRules,
  ) {
    this.#retainMs = random.pick([RETAIN_MS, RETAIN_MS, 2_000, 0]);
    this.#slowness = random.next() * random.next();
    this.#server = new MilestonesStore(this.#clock, rules);
    this.#gateways = Array.from({ length: GATEWAYS }, () => this.#newGateway());
    this.#clients = Array.from({ length: CLIENTS }, () => this.#newClient());
    // Events of a step, and how often they happen, relative to each other.
    this.#actions = new HistoryActions(
      [
        [1, () => this.#act()],
        [0.2, () => this.#arm()],
        [0.02, () => this.#disarm()],
        [0.05, () => this.#failOver()],
        [0.04, () => this.#kill()],
        [0.05, () => random.pick(this.#clients).reconnect()],
        [0.03, () => this.#import()],
        [0.04, () => this.#advance(random.below(FINAL_MS + RETAIN_MS))],
      ],
      random,
    );
  }

  async run(): Promise<void> {
    for (const { post, metric } of TARGETS) if (this.random.chance(0.5)) this.#armAt(post, metric);
    for (let step = 0; step < STEPS; step++) {
      await this.#actions.runOne();
      await this.#advance(this.random.below(STEP_MS));
    }
    for (const { store } of this.#gateways) store.conduct = () => GOOD;
    await this.#advance(RECOVERY_MS);
    if (this.#clients.some(({ unacknowledged }) => unacknowledged > 0)) fail('an operation is not acknowledged');
    await this.#retryWinners();
    await this.#advance(FINAL_MS);
    this.#checkFinals();
  }

  end(): void {
    for (const { process } of this.#gateways) process.kill();
  }

  #act(): void {
    const { random } = this;
    for (let burst = 1 + random.below(3); burst > 0; burst--) {
      const number = random.below(CLIENTS);
      this.#clients[number]!.act(this.#newOperation(number));
    }
  }

  #newOperation(client: number): Operation {
    const { random } = this;
    this.#operations += 1;
    const session = random.chance(0.8)
      ? { session: { hi: 2, lo: client }, seq: (this.#seqs[client]! += 1) }
      : { session: null, seq: 0 };
    const post = random.pick(POSTS);
    const kind = random.pick(['view', 'add', 'like', 'like', 'adjust', 'vote'] as const);
    // The store ignores this actor, so that it can serve as a name.
    const nameOf = { actor: { hi: 9, lo: this.#operations } };
    if (kind === 'view') return { post, metric: VIEWS, kind: 'add', value: 1, ...nameOf, ...session };
    if (kind === 'add') return { post, metric: VIEWS, kind: 'add', value: 1 + random.below(9), ...nameOf, ...session };
    const value = random.chance(0.65) ? 1 : -1;
    if (kind === 'adjust') return { post, metric: LIKES, kind, value, ...nameOf, ...session };
    const metric = kind === 'like' ? LIKES : random.pick(['yes', 'no'].map((name) => METRICS.byName(name)!.index));
    return { post, metric, kind: 'set', value: Math.max(value, 0), actor: { hi: 1, lo: random.below(9) }, ...session };
  }

  #arm(): void {
    const { post, metric } = this.random.pick(TARGETS);
    this.#armAt(post, metric);
    if (this.random.chance(0.3)) this.#armAt(post, metric);
  }

  /** Above the total as it is now: the call may come late. */
  #armAt(post: string, metric: number): void {
    const n = this.#server.ledger.total(post, metric) + 1 + this.random.below(metric === VIEWS ? 12 : 3);
    this.#call(() => this.#server.arm(post, metric, n));
  }

  #disarm(): void {
    const { post, metric } = this.random.pick(TARGETS);
    const armed = this.#server.ledger.armed(post, metric);
    if (armed.length > 0) this.#call(() => this.#server.disarm(post, metric, this.random.pick(armed)));
  }

  /** The counts of another region come here. */
  async #import(): Promise<void> {
    const post = this.random.pick(POSTS);
    const value = 1 + this.random.below(6);
    const batch = { bucket: 0, producerId: 'other', atMs: this.#clock.wallMs() };
    const operation: Operation = { post, metric: VIEWS, kind: 'add', value, actor: null, session: null, seq: 0 };
    this.#importedBatches += 1;
    await this.#otherRegion.commit({ ...batch, batchNumber: this.#importedBatches, operations: [operation] });
    this.#call(() => this.#server.import(this.#otherRegion, post, VIEWS));
  }

  /** Calls the store, soon or late, unless it is down then. */
  #call(run: () => Promise<void>): void {
    const { random } = this;
    this.#clock.after(random.below(random.chance(0.2) ? 2_000 : 5), () => void (this.#isUp && run()));
  }

  async #failOver(): Promise<void> {
    const { random } = this;
    this.stats.failovers += 1;
    this.#isUp = false;
    for (const { store } of this.#gateways) store.down();
    await this.#server.failOver(random.below(random.chance(0.3) ? LAG_MAX_MS : 3_000));
    await this.#clock.advance(random.below(random.chance(0.2) ? OUTAGE_MAX_MS : 500));
    this.#isUp = true;
    // Gateways reconnect at different times, so they replay in any order.
    const offset = random.below(GATEWAYS);
    for (const i of this.#gateways.keys()) {
      this.#gateways[(i + offset) % GATEWAYS]!.store.up();
      await this.#clock.advance(random.below(100));
    }
    await this.#advance(random.below(1_000));
    if (random.chance(0.3)) await this.#failOver();
  }

  #kill(): void {
    const index = this.random.below(GATEWAYS);
    const dead = this.#gateways[index]!;
    dead.process.kill();
    this.#gateways[index] = this.#newGateway();
    for (const client of this.#clients) if (client.gateway === dead) client.reconnect();
    this.stats.kills += 1;
  }

  #newGateway(): MilestonesGateway {
    const { random } = this;
    return new MilestonesGateway(this.#clock, this.#server, random, {
      retainMs: this.#retainMs,
      conduct: () => conductOf(random, this.#slowness),
    });
  }

  #newClient(): MilestonesClient {
    const pick = (): MilestonesGateway => this.random.pick(this.#gateways);
    return new MilestonesClient(this.#clock, this.random, pick, (operation, outcome) => {
      if ((outcome & REACHED) !== 0) this.#checkWin(operation);
    });
  }

  async #advance(ms: number): Promise<void> {
    await this.#clock.advance(ms);
    const { misuses = [] } = this.#gateways.map(({ store }) => store).find((store) => store.misuses.length > 0) ?? {};
    const fault = this.#server.fault || this.#fault || misuses.join();
    if (fault !== '') fail(fault);
    for (const { post, metric } of TARGETS) await this.#checkRead(post, metric);
  }

  /** An answer says that the operation has won. */
  #checkWin(operation: Operation): void {
    const { post, metric } = operation;
    const hasWon = [...this.#server.winners].some(
      ([name, winners]) => name.startsWith(`${post} ${metric} `) && winners.has(describe(operation)),
    );
    if (!hasWon) this.#fault ||= `${describe(operation)} was answered as the winner of ${post} ${metric}`;
  }

  /** A read equals the ledger of the surviving history, and nothing final ever changes. */
  async #checkRead(post: string, metric: number): Promise<void> {
    const { ledger } = this.#server;
    const { armed, reached } = await this.#server.readMilestones(post, metric);
    const at = `${post} ${metric}`;
    const expected = ledger.winners(post, metric);
    if (armed.join() !== ledger.armed(post, metric).join()) fail(`${at} has armed ${armed.join()}`);
    if (armed.some((n) => n <= ledger.total(post, metric))) fail(`${at} has armed ${armed.join()}, below its total`);
    if (reached.map(format).join('; ') !== expected.map(format).join('; '))
      fail(`${at} has ${reached.map(format).join('; ')} instead of ${expected.map(format).join('; ')}`);
    const final = new Map(reached.filter((one) => one.final).map((one) => [`${at} ${one.n}`, format(one)]));
    for (const [name, winner] of final) {
      const before = this.#finals.get(name) ?? winner;
      if (before !== winner) fail(`${name} had the final winner ${before}, and has ${winner}`);
      this.#finals.set(name, winner);
    }
    for (const [name, winner] of this.#finals)
      if (name.startsWith(`${at} `) && !final.has(name)) fail(`${name} has lost its final winner ${winner}`);
  }

  /** A winner that asks again, at any gateway, hears the same. */
  async #retryWinners(): Promise<void> {
    for (const { post, metric } of TARGETS) {
      for (const winner of this.#server.ledger.winners(post, metric)) {
        const { session, seq, kind, value, actor } = winner;
        if (session === null) continue;
        let outcome = -1;
        const operation = { post, metric, kind, value, actor, session, seq };
        this.random.pick(this.#gateways).submit(operation, (attempt) => (outcome = attempt.outcome));
        await this.#advance(1_000);
        if ((outcome & REACHED) === 0) fail(`a retry of ${describe(winner)} has outcome ${outcome}`);
        this.stats.retried += 1;
      }
    }
  }

  #checkFinals(): void {
    const { ledger, winners } = this.#server;
    for (const { post, metric } of TARGETS) {
      const reached = ledger.winners(post, metric);
      const unnamed = reached.find(({ n }) => !this.#finals.has(`${post} ${metric} ${n}`));
      if (unnamed !== undefined) fail(`${unnamed.n} of ${post} ${metric} has no final winner`);
      this.stats.finals += reached.length;
      this.stats.missed += reached.filter(({ missed }) => missed).length;
      this.stats.below += reached.filter(({ n }) => ledger.total(post, metric) < n).length;
      this.stats.several += reached.length - new Set(reached.map(describe)).size;
    }
    this.stats.overturned += [...winners].filter(([name, { size }]) => size > 1 && this.#finals.has(name)).length;
  }
}

function format(winner: Winner): string {
  const { n, total, v, atMs, recordedAtMs, missed } = winner;
  const times = missed ? recordedAtMs : `${atMs} ${recordedAtMs}`;
  return `${n} by ${missed ? 'nobody' : describe(winner)} to ${total} v ${v} at ${times}`;
}
