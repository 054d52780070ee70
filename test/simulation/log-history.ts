import { Random } from '../support/random.js';
import { fail, findBrokenInvariant, HistoryActions } from './history-actions.js';
import { LogWorld } from './log-world.js';
import type { LogWorldRules } from './log-rules.js';
import type { CallWeather } from './unreliable-call.js';

const STEPS = 40;
const STEP_MS = 800;
/** By then slow requests have arrived, leases have ended, positions were read again, and idle buckets have followed the others. */
const RECOVERY_MS = 20_000;
/** By then the events of a request are counted. */
const LAST_COMMITS_MS = 1_000;
/** By then applied entries are not kept any more. */
const TRIMMING_MS = 25_000;
/** On average: a gateway that fails makes a pause. */
const READS_PER_SECOND_MAX = 40;

/** Runs a history of events and failures. @returns the invariant that is broken; `''`: none is */
export async function runLogHistory(seed: number, rules: LogWorldRules): Promise<string> {
  const random = new Random(seed);
  const history = new LogHistory(new LogWorld(random, rules), random);
  return await history.run();
}

class LogHistory {
  readonly #actions: HistoryActions;
  /** How often the replicas get everything, by step. */
  readonly #storeReplicationRate: number;
  readonly #logReplicationRate: number;

  constructor(
    private readonly world: LogWorld,
    private readonly random: Random,
  ) {
    this.#storeReplicationRate = random.next();
    this.#logReplicationRate = random.next();
    // Events of a step, and how often they happen, relative to each other.
    this.#actions = new HistoryActions(
      [
        [0.5, () => this.#send()],
        [0.05, () => this.world.sendForeign()],
        [0.1, () => this.world.arm()],
        [0.06, () => this.world.store.failOver()],
        [0.03, () => this.world.log.restart()],
        [0.05, () => this.world.failOverLog()],
        [0.01, () => this.world.emptyLog()],
        [0.08, () => this.#stopOrResume()],
        [0.05, () => this.world.replaceGateway()],
        [0.05, () => this.#toggle(this.world.store.weather)],
        [0.05, () => this.#toggle(this.world.logWeather)],
      ],
      random,
    );
  }

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
    await this.#advance(RECOVERY_MS);
    await this.#check();
    if (random.chance(0.2)) await this.#failOverAtRest();
    if (random.chance(0.2)) await this.#checkTrimming();
  }

  async #step(): Promise<void> {
    const { world, random } = this;
    world.store.keepReplicaClose();
    if (random.chance(this.#storeReplicationRate)) world.store.replicate();
    if (random.chance(this.#logReplicationRate)) world.log.replicate();
    await this.#actions.runOne();
  }

  #send(): void {
    const requests = this.random.chance(0.2) ? 5 : 1;
    for (let i = 0; i < requests; i++) void this.world.send();
  }

  #stopOrResume(): void {
    const { process } = this.random.pick(this.world.gateways);
    if (process.isStopped) process.resume();
    else process.stop(this.random.chance(0.5));
  }

  #toggle(weather: CallWeather): void {
    weather.isDown = !weather.isDown;
  }

  async #advance(ms: number): Promise<void> {
    const { world } = this;
    await world.clock.advance(ms);
    const fault = world.fault || world.store.misuse;
    if (fault !== '') fail(fault);
  }

  async #check(): Promise<void> {
    const { world } = this;
    const difference =
      world.ledger.differenceOf(world.store) ||
      world.ledger.wrongMilestone(world.store) ||
      world.ledger.missingLetter(await world.readLetters());
    if (difference !== '') fail(difference);
    const loss = world.warnings.find((warning) => warning.includes('trimmed'));
    if (loss !== undefined) fail(`a warning: ${loss}`);
    for (const { aggregator } of world.gateways)
      if (aggregator.lagSeconds > 0) fail(`${aggregator.lagSeconds} s behind`);
    const perSecond = world.reads / (world.clock.nowMs() / 1_000);
    if (perSecond > READS_PER_SECOND_MAX) fail(`${perSecond} reads a second`);
  }

  /** The store loses its last commits, and no new event shows it. */
  async #failOverAtRest(): Promise<void> {
    const { world } = this;
    world.store.replicate();
    void world.send();
    await this.#advance(LAST_COMMITS_MS);
    world.store.failOver();
    await this.#advance(RECOVERY_MS);
    await this.#check();
  }

  async #checkTrimming(): Promise<void> {
    const { world } = this;
    await this.#advance(TRIMMING_MS);
    if (world.waitingEntries > 0) fail(`${world.waitingEntries} entries are still in the log`);
    await this.#check();
  }
}
