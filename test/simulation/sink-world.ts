import { moveSum } from '../../src/counters/changed-posts.js';
import { Feeder, type SinkStatus } from '../../src/sinks/feeder.js';
import { Lease } from '../../src/store/lease.js';
import { StoredPositions } from '../../src/sinks/stored-positions.js';
import type { Random } from '../support/random.js';
import { SimulatedClock } from './simulated-clock.js';
import { SimulatedProcess } from './simulated-process.js';
import { connectConsumer, SinkConsumer, trustPositions } from './sink-consumer.js';
import {
  FINAL_MS,
  findEarlyRecord,
  findMissingRecord,
  findOtherRecord,
  type MilestoneTable,
} from './sink-milestones.js';
import { SINK_RULES, type SinkRules } from './sink-rules.js';
import { BUCKETS, METRICS, SinkStore } from './sink-store.js';
import { downError, sumRows, SinkTable, TableSink } from './sink-table.js';
import { callFrom, calmWeather, type CallWeather } from './unreliable-call.js';

const INTERVAL_MS = 1_000;
/** A record is entered with one cycle, and written with the next. */
const CYCLES_MS = 3 * INTERVAL_MS;
/** Few enough that a gateway, which calls again without a pause while it is behind, comes to an end. */
export const TRAFFIC_MAX = 0.15;

type SinkName = 'table' | 'consumer';

/** A gateway process that feeds one sink while it has its lease. */
class SinkGateway {
  readonly process: SimulatedProcess;
  readonly feeder: Feeder;
  /** Whether its table gets members. */
  readonly keepsMembers: boolean;

  constructor(
    readonly sinkName: SinkName,
    world: SinkWorld,
  ) {
    const { random, clock, rules } = world;
    this.keepsMembers = world.keepsMembers;
    this.process = new SimulatedProcess(clock);
    const { process } = this;
    const store = world.store.connect(process);
    const call = callFrom(process, random, world.weatherOf[sinkName], downError);
    const stored = new StoredPositions(store, sinkName, connectConsumer(world.consumer, call));
    const copy = rules.trustsStoredPositions ? trustPositions(stored) : stored;
    const sink = sinkName === 'table' ? new TableSink(world.table, rules.table, call, this.keepsMembers) : copy;
    const lease = new Lease(store, sinkName, process.clock);
    const options = {
      buckets: BUCKETS,
      intervalMs: INTERVAL_MS,
      clock: process.clock,
      random: () => random.next(),
      warn: (message: string) => world.warnings.push(message),
    };
    this.feeder = new Feeder(store, sink, lease, options, rules.copy);
    lease.start();
    this.feeder.start();
  }

  /**
   * Stops the process for a time. Only the table recognizes writes of a gateway whose clock stood still, and which does not know therefore
   * that its lease has ended: consumers get posts at least once, and perhaps an older state last.
   */
  stop(random: Random): void {
    this.process.stop(this.sinkName === 'table' && random.chance(0.5));
  }
}

/** A store, a table and a consumer, and two gateways that copy the counts of one to the others, under a seed. */
export class SinkWorld {
  readonly clock = new SimulatedClock();
  readonly table = new SinkTable(BUCKETS);
  readonly consumer = new SinkConsumer();
  readonly store: SinkStore;
  readonly weatherOf: Readonly<Record<SinkName, CallWeather>> = { table: calmWeather(), consumer: calmWeather() };
  readonly warnings: string[] = [];
  /** The first broken one of the invariants that hold at any time; `''`: none is. */
  fault = '';
  /** Whether gateways that start now keep members in the table. */
  keepsMembers: boolean;
  gateways: readonly SinkGateway[];

  constructor(
    readonly random: Random,
    readonly rules: SinkRules = SINK_RULES,
    isEmbedded = random.chance(0.3),
  ) {
    this.store = new SinkStore(this.clock, random, rules, isEmbedded);
    this.keepsMembers = random.chance(0.5);
    // No other gateway shares an embedded store.
    const names = isEmbedded ? (['table', 'consumer'] as const) : (['table', 'table', 'consumer', 'consumer'] as const);
    this.gateways = names.map((name) => new SinkGateway(name, this));
    this.table.committed = () => (this.fault ||= this.#findFault());
  }

  makeWeather(): void {
    const { random, store, weatherOf } = this;
    for (const weather of [store.weather, weatherOf.table, weatherOf.consumer]) {
      weather.failsBefore = random.chance(0.5) ? random.next() / 4 : 0;
      weather.failsAfter = random.chance(0.5) ? random.next() / 4 : 0;
      weather.slow = random.chance(0.5) ? random.next() / 2 : 0;
    }
    store.traffic = random.chance(0.5) ? random.next() * TRAFFIC_MAX : 0;
    // A post that is delivered late may be older than what another gateway delivered meanwhile.
    weatherOf.consumer.slow = 0;
  }

  /** Kills a gateway and starts another one. */
  replaceGateway(killed = this.random.pick(this.gateways)): void {
    killed.process.kill();
    this.gateways = this.gateways.map((one) => (one === killed ? new SinkGateway(killed.sinkName, this) : one));
  }

  /** The setting is changed, and one gateway at least starts again with it. */
  keepMembers(): void {
    this.keepsMembers = true;
    const outdated = this.#outdatedGateways;
    for (const gateway of this.random.chance(0.5) ? outdated : outdated.slice(1)) this.replaceGateway(gateway);
  }

  get #outdatedGateways(): readonly SinkGateway[] {
    return this.gateways.filter(
      ({ sinkName, keepsMembers }) => sinkName === 'table' && keepsMembers !== this.keepsMembers,
    );
  }

  /** Everything is up, and nothing fails any more. */
  mend(): void {
    const { store, weatherOf } = this;
    store.traffic = 0;
    for (const weather of [store.weather, weatherOf.table, weatherOf.consumer]) Object.assign(weather, calmWeather());
    for (const gateway of this.#outdatedGateways) this.replaceGateway(gateway);
    for (const { process } of this.gateways) process.resume();
  }

  /** The status of a sink, from each gateway that feeds it. */
  statusesOf(name: SinkName): SinkStatus[] {
    const feeders = this.gateways.filter(({ sinkName }) => sinkName === name).map(({ feeder }) => feeder);
    return feeders.map(({ status }) => status).filter(({ isFed }) => isFed);
  }

  /** @returns where the copies differ from the store; `''`: nowhere */
  difference(): string {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const { posts, members } = this.store.readContents(bucket);
      for (const [post, { v, totals }] of posts) {
        if (v === 0) continue;
        const row = this.table.state.rows.get(post);
        if (row?.v !== v || String(row.totals) !== String(totals)) {
          return `S4: ${post} is ${row?.v}: ${String(row?.totals)} in the table and ${v}: ${String(totals)} in the store`;
        }
        const received = this.consumer.posts.get(post);
        if (received?.v !== v || String(received.totals) !== String(totals)) {
          return `S4: ${post} is ${String(received?.totals)} at the consumer and ${String(totals)} in the store`;
        }
      }
      const lost = this.table
        .rowsOf(bucket)
        .find(([post, { totals }]) => !posts.has(post) && totals.some((one) => one > 0));
      if (lost !== undefined) return `S4: ${lost[0]} is in the table and not in the store`;
      const difference = this.#differenceOfMembers(bucket, members);
      if (difference !== '') return `S4: ${difference}`;
    }
    const { table, consumer } = this;
    return this.#differenceOfMilestones(table.state.milestones) || this.#differenceOfMilestones(consumer.milestones);
  }

  #differenceOfMilestones(copy: MilestoneTable): string {
    const { store, clock } = this;
    const inStore = store.readMilestones();
    const settledAtMs = store.isEmbedded ? Infinity : clock.wallMs() - FINAL_MS - CYCLES_MS;
    const settled = [...inStore.values()].filter(({ recordedAtMs }) => recordedAtMs <= settledAtMs);
    return findMissingRecord(copy, settled) || findOtherRecord(copy, inStore, store.hasLostFinal);
  }

  #differenceOfMembers(bucket: number, inStore: ReadonlySet<string>): string {
    if (!this.table.state.keepsMembers) return '';
    const inTable = new Set(this.table.membersOf(bucket));
    const missing = [...inStore].find((key) => !inTable.has(key));
    if (missing !== undefined) return `${missing} is not a member in the table`;
    const added = [...inTable].find((key) => !inStore.has(key));
    return added === undefined ? '' : `${added} is a member in the table only`;
  }

  #findFault(): string {
    if (this.table.fallenRow !== '') return `S2: ${this.table.fallenRow}`;
    const early = findEarlyRecord(this.table.state.milestones, this.clock.wallMs());
    if (early !== '' && !this.store.isEmbedded) return early;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const fault = this.#faultOfSums(bucket) || this.#faultOfSnapshot(bucket) || this.#faultOfRecord(bucket);
      if (fault !== '') return fault;
    }
    return '';
  }

  #faultOfSums(bucket: number): string {
    const { sums, base } = this.table.bucket(bucket);
    if (sums === null) return '';
    if (base === null) return `S3: bucket ${bucket} has sums and no base`;
    const rows = sumRows(this.table.state.rows, bucket, METRICS.list.length);
    const expected = sums.map((sum, i) => moveSum(sum, base[i]!));
    return String(rows) === String(expected)
      ? ''
      : `S3: the rows of bucket ${bucket} add up to ${String(rows)} instead of ${String(expected)}`;
  }

  /** F1 and F3: with sums, the rows are the bucket at one instant. */
  #faultOfSnapshot(bucket: number): string {
    const { sums, position } = this.table.bucket(bucket);
    if (sums === null || position === null) return '';
    const contents = this.store.contentsAt(bucket, position, position.upTo);
    if (contents === undefined) return `F1: bucket ${bucket} was never complete at ${position.upTo}`;
    const difference = this.#differenceOfMembers(bucket, contents.members);
    if (difference !== '') return `F1: ${difference} at ${position.upTo}`;
    const rows = new Map(this.table.rowsOf(bucket));
    for (const post of new Set([...rows.keys(), ...contents.posts.keys()])) {
      const none = METRICS.list.map(() => 0);
      const [inTable, inStore] = [rows.get(post)?.totals ?? none, contents.posts.get(post)?.totals ?? none];
      if (String(inTable) !== String(inStore)) {
        return `F1: ${post} is ${String(inTable)} instead of ${String(inStore)} at ${position.upTo}`;
      }
    }
    return '';
  }

  #faultOfRecord(bucket: number): string {
    const record = this.store.primary.buckets[bucket]!.changedPosts;
    if (record === null || record.feed.size <= this.rules.records.feedMax(record.posts.state)) return '';
    return `F4: bucket ${bucket} has ${record.feed.size} entries`;
  }
}
