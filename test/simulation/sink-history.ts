import { compareIncarnations } from '../../src/counters/pn-counter.js';
import { Random } from '../support/random.js';
import { fail, findBrokenInvariant, HistoryActions } from './history-actions.js';
import type { SinkRules } from './sink-rules.js';
import { BUCKETS } from './sink-store.js';
import { SinkWorld, TRAFFIC_MAX } from './sink-world.js';
import type { CallWeather } from './unreliable-call.js';

const STEPS = 40;
const STEP_MS = 1_200;
/** By then everything that was sent over slow connections has arrived. */
const ARRIVAL_MS = 7_000;
/** Two cycles, a pause after failures, and the end of the lease of a gateway that was killed. */
const RECOVERY_MS = 7_000;
/** After this time positions are read again, which shows that a table has lost its last transactions. */
const RECHECK_MS = 11_000;
/** A store that lost changes over such a time is a backup. */
const LOSS_MS = 65_000;
/** On average over a history: after a failure a gateway pauses for 50 ms or longer. */
const CYCLES_PER_SECOND_MAX = 20;
const LAG_SECONDS_MAX = 3;

export interface HistoryResult {
  /** A broken invariant; `''`: there is none. */
  readonly fault: string;
  /** Whether buckets were halted before the end. */
  readonly isHalted: boolean;
}

/** Runs a history of commits and failures. In some the store is lost at the end. */
export async function runHistory(seed: number, rules: SinkRules): Promise<HistoryResult> {
  const random = new Random(seed);
  const history = new History(new SinkWorld(random, rules), random);
  const fault = await history.run();
  return { fault, isHalted: history.isHalted };
}

class History {
  isHalted = false;
  readonly #actions: HistoryActions;
  #losesTransactions = false;
  /** How often the replica gets everything, by step. */
  readonly #replicationRate: number;

  constructor(
    private readonly world: SinkWorld,
    private readonly random: Random,
  ) {
    this.#replicationRate = random.next();
    // Events of a step, and how often they happen, relative to each other.
    this.#actions = new HistoryActions(
      [
        [0.45, () => this.world.store.commit()],
        [0.1, () => this.world.store.merge()],
        [0.04, () => this.#commitMany()],
        [0.08, () => this.world.store.arm()],
        [0.06, () => this.world.store.failOver()],
        [0.02, () => this.world.store.backUp()],
        [0.01, () => this.world.store.restoreBackup()],
        [0.03, () => this.#restoreSoon()],
        [0.01, () => this.world.store.primary.changeStore.stopRecording()],
        [0.07, () => this.#stopOrResume()],
        [0.03, () => this.world.replaceGateway()],
        [0.02, () => this.world.keepMembers()],
        [0.02, () => this.#loseStartOfMembers()],
        [0.07, () => this.#toggle(this.world.weatherOf.table)],
        [0.04, () => this.#toggle(this.world.weatherOf.consumer)],
        [0.04, () => this.#toggle(this.world.store.weather)],
        [0.04, () => this.#loseTransactions()],
      ],
      random,
    );
  }

  /** @returns the invariant that is broken; `''`: none is */
  async run(): Promise<string> {
    try {
      return await findBrokenInvariant(() => this.#run());
    } finally {
      for (const { process } of this.world.gateways) process.kill();
    }
  }

  async #run(): Promise<void> {
    const { world, random } = this;
    world.makeWeather();
    for (let step = 0; step < STEPS; step++) {
      await this.#step();
      await this.#advance(random.below(STEP_MS));
    }
    world.mend();
    await this.#advance(ARRIVAL_MS);
    await this.#recover();
    if (random.chance(0.15)) await this.#loseStore();
    const perSecond = world.store.cycles / (world.clock.nowMs() / 1_000);
    if (perSecond > CYCLES_PER_SECOND_MAX) fail(`${perSecond} cycles a second`);
  }

  async #step(): Promise<void> {
    const { random } = this;
    if (random.chance(this.#replicationRate)) this.world.store.replicate();
    await this.#actions.runOne();
  }

  async #commitMany(): Promise<void> {
    for (let i = 0; i < 8; i++) await this.world.store.commit();
  }

  /** The store falls back to what it was a moment ago. */
  async #restoreSoon(): Promise<void> {
    const { store, weatherOf } = this.world;
    const { slow } = weatherOf.table;
    // The table has some of the pages then.
    if (this.random.chance(0.5)) weatherOf.table.slow = 1;
    if (this.random.chance(0.5)) await this.#commitMany();
    else await store.commit();
    store.backUp();
    if (this.random.chance(0.5)) await store.commitViews();
    else await store.commit();
    await this.#advance(this.random.below(2_000));
    store.restoreBackup();
    weatherOf.table.slow = slow;
  }

  /** The store falls back to what it was before members were recorded. */
  async #loseStartOfMembers(): Promise<void> {
    const { store } = this.world;
    await this.#advance(this.random.below(2_000));
    store.backUp();
    this.world.keepMembers();
    await this.#advance(this.random.below(4_000));
    store.restoreBackup();
    await store.commit();
  }

  #loseTransactions(): void {
    this.#losesTransactions = true;
    this.world.table.loseTransactions(this.random.below(4));
  }

  #toggle(weather: CallWeather): void {
    weather.isDown = !weather.isDown;
  }

  #stopOrResume(): void {
    const gateway = this.random.pick(this.world.gateways);
    if (gateway.process.isStopped) gateway.process.resume();
    else gateway.stop(this.random);
  }

  async #advance(ms: number): Promise<void> {
    const { world } = this;
    await world.clock.advance(ms);
    if (world.fault !== '') fail(world.fault);
  }

  /** Waits until the copies equal the store, or are halted for a reason. */
  async #recover(): Promise<void> {
    await this.#advance(RECOVERY_MS);
    const isHalted = this.#haltedBuckets > 0;
    if (isHalted || (this.#losesTransactions && this.world.difference() !== ''))
      await this.#advance(RECHECK_MS + RECOVERY_MS);
    if (this.#haltedBuckets > 0) {
      this.isHalted = true;
      this.#checkHalts();
      await this.#adopt();
    }
    this.#checkCopies();
  }

  /** The table follows the store, whatever that has, while more is counted. */
  async #adopt(): Promise<void> {
    const { store, table } = this.world;
    store.traffic = TRAFFIC_MAX;
    table.adopt();
    await this.#advance(RECHECK_MS);
    store.traffic = 0;
    await this.#advance(RECOVERY_MS);
  }

  /** Halting is right if the table has changes that the store lacks for certain, or may have some for long. */
  #checkHalts(): void {
    let justified = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const { position } = this.world.table.bucket(bucket);
      const starts = this.world.store.primary.buckets[bucket]!.changedPosts!.posts.state.starts;
      if (position === null) continue;
      const index = starts.findIndex((start) => compareIncarnations(start, position) === 'same');
      const next = starts[index + 1];
      const isLong = next !== undefined && position.changedAtMs - next.startMs > 60_000;
      if (index === -1 || isLong) justified += 1;
    }
    if (this.#haltedBuckets > justified) fail(`${this.#haltedBuckets} buckets are halted, ${justified} for a reason`);
  }

  get #haltedBuckets(): number {
    return Math.max(0, ...this.world.statusesOf('table').map(({ haltedBuckets }) => haltedBuckets));
  }

  #checkCopies(): void {
    const difference = this.world.difference();
    if (difference !== '') fail(difference);
    for (const name of ['table', 'consumer'] as const) {
      const statuses = this.world.statusesOf(name);
      if (statuses.length !== 1) fail(`${statuses.length} gateways feed the ${name}`);
      const { isUp, haltedBuckets, lagSeconds } = statuses[0]!;
      if (!isUp || haltedBuckets > 0 || lagSeconds > LAG_SECONDS_MAX)
        fail(`the ${name} is ${JSON.stringify(statuses[0])}`);
    }
  }

  /** The store is emptied or restored from an old backup: the table is not changed before somebody adopts the store. */
  async #loseStore(): Promise<void> {
    const { store, table, warnings } = this.world;
    store.backUp();
    await this.#advance(LOSS_MS);
    await store.commitViews();
    await this.#advance(RECOVERY_MS);
    this.#checkCopies();
    const before = JSON.stringify([...table.state.rows]);
    warnings.length = 0;
    if (this.random.chance(0.5)) store.restoreBackup();
    else store.empty();
    await store.commitViews();
    await this.#advance(RECHECK_MS);
    await store.merge();
    await this.#advance(RECHECK_MS);
    if (this.#haltedBuckets < BUCKETS) fail(`${this.#haltedBuckets} buckets are halted`);
    if (JSON.stringify([...table.state.rows]) !== before) fail('rows of a halted table have changed');
    if (warnings.length !== 1 || !warnings[0]!.includes('halted')) fail(`warnings: ${JSON.stringify(warnings)}`);
    await this.#adopt();
    this.#checkCopies();
  }
}
