import { EMPTY } from 'rxjs';
import { ClosingFlag } from '../../src/common/closing-flag.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import type { AcceptedEvent } from '../../src/ingest/event-intake.js';
import { OperationCounts } from '../../src/ingest/operation-counts.js';
import { Aggregator } from '../../src/log/aggregator.js';
import type { EventLog } from '../../src/log/event-log.js';
import { LogIntake } from '../../src/log/log-intake.js';
import { key } from '../contract/operations.js';
import type { Random } from '../support/random.js';
import { LogLedger } from './log-ledger.js';
import { LOG_WORLD_RULES, type LogWorldRules } from './log-rules.js';
import { BUCKETS, LogStore, METRICS, PARTITIONS } from './log-store.js';
import { MemoryLog } from './memory-log.js';
import { SimulatedClock } from './simulated-clock.js';
import { SimulatedProcess } from './simulated-process.js';
import { callFrom, calmWeather } from './unreliable-call.js';

const INTERVAL_MS = 500;
const KEEP_MS = 8_000;
const EVENTS_MAX = 60;
/** Posts of these partitions. A history uses them one after the other, because the count of a post shows which of a few events it has. */
const POSTS = Array.from({ length: 4_000 }, (_, i) => `post-${i}`).filter((post) =>
  PARTITIONS.includes(bucketOf(post, BUCKETS) % 16),
);
const RECENT_POSTS = 4;
const ACTORS = 3;
/** A few additions. */
const VIEWS_ABOVE_MAX = 3_000;
const REQUEST_MS = 4_000;
const REPEATS_MAX = 4;
const FOREIGN_PAYLOADS = [
  'no JSON',
  '{"at":1767225600000,"events":[["post-0","shares"]]}',
  '{"at":1767225600000,"events":[["post-0","views",-1],["post-1","likes","on"]]}',
];

/** A gateway process that takes events and counts those of the log. */
class LogGateway {
  readonly process: SimulatedProcess;
  readonly aggregator: Aggregator;
  readonly intake: LogIntake;
  readonly #lifecycle = new ClosingFlag();

  constructor(world: LogWorld) {
    this.process = new SimulatedProcess(world.clock);
    const { clock } = this.process;
    const log = world.connectLog(this.process);
    const counts = new OperationCounts(EMPTY, EMPTY);
    const wallMs = (): number => clock.wallMs();
    const read = { read: () => Promise.resolve([]) };
    const intakeOptions = { buckets: BUCKETS, metrics: METRICS, wallMs, warn: () => undefined };
    this.intake = new LogIntake(log, read, counts, this.#lifecycle, intakeOptions);
    const options = {
      ...{ buckets: BUCKETS, metrics: METRICS, partitions: PARTITIONS, intervalMs: INTERVAL_MS },
      ...{ keepMs: world.rules.keepsApplied ? KEEP_MS : 0, clock, wallMs },
      random: () => world.random.next(),
      warn: (message: string) => world.warnings.push(message),
    };
    const store = world.store.connect(this.process);
    this.aggregator = new Aggregator(store, log, this.#lifecycle, options, world.rules.reader);
    this.aggregator.start();
  }

  async close(): Promise<void> {
    this.#lifecycle.startClosing();
    await this.aggregator.close();
    this.process.kill();
  }
}

/** A store, a log in front of it, and two gateways, under a seed. */
export class LogWorld {
  readonly clock = new SimulatedClock();
  readonly ledger = new LogLedger();
  readonly warnings: string[] = [];
  readonly store: LogStore;
  readonly log: MemoryLog;
  readonly logWeather = calmWeather();
  gateways: readonly LogGateway[];
  /** How often the log was read. */
  reads = 0;
  /** The first broken one of the invariants that hold at any time; `''`: none is. */
  fault = '';
  #post = 0;
  #sessions = 0;
  #incarnations = 0;

  constructor(
    readonly random: Random,
    readonly rules: LogWorldRules = LOG_WORLD_RULES,
  ) {
    this.store = new LogStore(this.clock, random, rules);
    this.log = new MemoryLog({
      eventsMax: EVENTS_MAX,
      newName: () => `log-${random.below(2 ** 32)}`,
      isReplicated: random.chance(0.3),
      nextIncarnation: (last) => (last > 0 && !rules.startsIncarnations ? last : ++this.#incarnations),
      appended: (partition, entry) => this.ledger.add(partition, entry),
    });
    this.gateways = [new LogGateway(this), new LogGateway(this)];
  }

  /** The log as a gateway sees it. */
  connectLog(process: SimulatedProcess): EventLog {
    const { log } = this;
    const call = callFrom(process, this.random, this.logWeather, () => new Error('the log is down'));
    return {
      append: (appends) => call(() => log.append(appends)),
      read: (requests, eventsMax) =>
        call(() => {
          this.reads += 1;
          if (eventsMax > this.rules.reader.pageEventsMax) this.fault ||= `a page of ${eventsMax} events`;
          return log.read(requests, eventsMax);
        }),
      trim: (name, partition, upTo) => call(() => log.trim(name, partition, upTo)),
      addDeadLetters: (letters) => call(() => log.addDeadLetters(letters)),
      listDeadLetters: (partition, limit) => call(() => log.listDeadLetters(partition, limit)),
      removeDeadLetters: (letters) => call(() => log.removeDeadLetters(letters)),
      status: () => call(() => log.status()),
      available: true,
      url: log.url,
      stats: log.stats,
      close: () => Promise.resolve(),
    };
  }

  makeWeather(): void {
    const { random } = this;
    for (const weather of [this.store.weather, this.logWeather]) {
      weather.failsBefore = random.chance(0.5) ? random.next() / 4 : 0;
      weather.failsAfter = random.chance(0.5) ? random.next() / 4 : 0;
      weather.slow = random.chance(0.5) ? random.next() / 2 : 0;
    }
  }

  /** A client sends a request, perhaps several times, if its events have keys. */
  async send(): Promise<void> {
    const { random } = this;
    const hasKeys = random.chance(0.4);
    const events = Array.from({ length: 1 + random.below(4) }, () => this.#randomEvent(hasKeys));
    for (let i = 0; i < (hasKeys ? REPEATS_MAX : 1); i++) {
      const isAccepted = await this.#request(events);
      if (isAccepted && !events.every((event) => this.ledger.has(event)))
        this.fault ||= 'an accepted event is not in the log';
      if (isAccepted && random.chance(0.8)) return;
      await new Promise<void>((resolve) => void this.clock.after(random.below(REQUEST_MS), resolve));
    }
  }

  /** Another program appends what no gateway can count. */
  async sendForeign(): Promise<void> {
    const payload = this.random.pick(FOREIGN_PAYLOADS);
    await this.log.append([{ partition: this.random.pick(PARTITIONS), events: 1, payload }]).catch(() => undefined);
  }

  /** An operator arms a milestone of a recent post, near its total. */
  arm(): void {
    const { random } = this;
    const isOfViews = random.chance(0.7);
    const above = 1 + random.below(isOfViews ? VIEWS_ABOVE_MAX : ACTORS);
    this.store.arm(this.#randomPost(), isOfViews ? VIEWS : LIKES, above);
  }

  /** Ends a gateway in order, or kills it, and starts another one. */
  replaceGateway(): void {
    const ended = this.random.pick(this.gateways);
    if (this.random.chance(0.3)) void ended.close();
    else ended.process.kill();
    this.gateways = this.gateways.map((one) => (one === ended ? new LogGateway(this) : one));
  }

  async failOverLog(): Promise<void> {
    const before = await this.readLetters();
    this.ledger.loseEntries(this.log.failOver());
    await this.#noteLostLetters(before);
  }

  async emptyLog(): Promise<void> {
    const before = await this.readLetters();
    this.ledger.loseEntries(this.log.empty());
    await this.#noteLostLetters(before);
  }

  /** Everything is up, and nothing fails any more. */
  mend(): void {
    for (const weather of [this.store.weather, this.logWeather]) Object.assign(weather, calmWeather());
    for (const { process } of this.gateways) process.resume();
  }

  async readLetters(): ReturnType<EventLog['listDeadLetters']> {
    const letters = await Promise.all(PARTITIONS.map((partition) => this.log.listDeadLetters(partition, Infinity)));
    return letters.flat();
  }

  get waitingEntries(): number {
    return PARTITIONS.reduce((sum, partition) => sum + this.log.entriesOf(partition).length, 0);
  }

  async #noteLostLetters(before: Awaited<ReturnType<LogWorld['readLetters']>>): Promise<void> {
    const present = new Set(await this.readLetters());
    this.ledger.loseLetters(before.filter((letter) => !present.has(letter)));
  }

  /** @returns whether the answer came, and was that the events are accepted */
  #request(events: readonly AcceptedEvent[]): Promise<boolean> {
    const { intake } = this.random.pick(this.gateways);
    return new Promise((resolve) => {
      this.clock.after(REQUEST_MS, () => resolve(false));
      intake.accept(events).then(
        () => resolve(true),
        () => resolve(false),
      );
    });
  }

  #randomPost(): string {
    return POSTS[(this.#post + this.random.below(RECENT_POSTS)) % POSTS.length]!;
  }

  #randomEvent(hasKey: boolean): AcceptedEvent {
    const { random } = this;
    if (random.chance(0.3)) this.#post += 1;
    const base = {
      post: this.#randomPost(),
      session: hasKey ? key(++this.#sessions) : null,
      seq: hasKey ? 1 : 0,
      onCounts: null,
    };
    if (random.chance(0.75))
      return { ...base, metric: VIEWS, kind: 'add', value: 1 + random.below(1_000), actor: null, notifiesActor: false };
    const actor = key(random.below(ACTORS));
    return { ...base, metric: LIKES, kind: 'set', value: random.below(2), actor, notifiesActor: true };
  }
}
