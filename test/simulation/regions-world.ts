import { COUNTING_RULES, type CountingRules } from '../../src/counters/apply.js';
import type { Batch, CommitResult } from '../../src/counters/batch.js';
import { Metrics } from '../../src/counters/metrics.js';
import { HOME_RULES, type HomeRules } from '../../src/counters/replication/home-rules.js';
import type { CompareIncarnations } from '../../src/counters/replication/merge-delta.js';
import type { Clock } from '../../src/common/clock.js';
import { APPLIED, type Operation } from '../../src/counters/operation.js';
import { sumEntries } from '../../src/counters/pn-counter.js';
import { GuardedClock } from '../../src/common/guarded-clock.js';
import type { Peer } from '../../src/replication/transport/peer.js';
import { Replicator, type ReplicatorOptions } from '../../src/replication/replicator.js';
import type { ReplicatedStore } from '../../src/store/replicated-store.js';
import { ReferenceStore } from '../contract/reference-store.js';
import type { Random } from '../support/random.js';
import { LossyPeer } from './lossy-peer.js';
import { SimulatedClock } from './simulated-clock.js';

const METRICS = Metrics.parse('likes:toggle,views:tally');
const NAMES = ['ap', 'eu', 'us'] as const;
/** Longer than any history, because anti-entropy would repair faults of the links. */
const NEVER_MS = 1e10;

/** How bad the links are: the probability of each fault, 0 to 1. */
export interface Weather {
  readonly lost: number;
  readonly answerLost: number;
  readonly twice: number;
  readonly late: number;
  /** Counters come before the toggles of their post, in deltas of their own. */
  readonly divided?: number;
}

/**
 * A planted fault: in the order of incarnations, in the rejection of clashes, in the rights to take likes away, in the clocks, or in what a
 * choice puts off.
 */
export type Plant =
  | 'none'
  | 'maximum'
  | 'epoch without nonce'
  | 'no rejection'
  | 'rights of the sum'
  | 'no guarded clock'
  | 'no rewind'
  | 'put off in a commit of its own'
  | 'put off the first other option'
  | 'put off when its update comes';

const ORDERS: Partial<Record<Plant, CompareIncarnations>> = {
  maximum: () => 'same',
  'no rejection': (incarnation, other) => {
    if (incarnation.epoch !== other.epoch) return incarnation.epoch > other.epoch ? 'newer' : 'older';
    return incarnation.nonce >= other.nonce ? 'newer' : 'older';
  },
};

const RULES: Partial<Record<Plant, CountingRules>> = {
  'rights of the sum': { ...COUNTING_RULES, countRights: (counter) => sumEntries(counter) },
  'put off in a commit of its own': { ...COUNTING_RULES, optionsToPutOff: () => [] },
  'put off the first other option': {
    ...COUNTING_RULES,
    optionsToPutOff: ({ otherOptions }, metric) => otherOptions[metric]!.slice(0, 1),
  },
};

/** An actor's update of a like, and its stamp. */
export interface ToggleUpdate {
  readonly operation: Operation;
  readonly stamp: number;
}

interface Committed {
  readonly batch: Batch;
  readonly outcomes: Uint8Array;
  /** Whether a gateway has sent it again after a failover. */
  readonly isReplay: boolean;
  readonly toggleUpdates: readonly ToggleUpdate[];
  /** Anonymous +1 and -1 that were applied. */
  readonly anonymousLikes: readonly Operation[];
}

/** One region: a store that fails over, and a gateway that replicates. */
class Region {
  primary: ReferenceStore;
  /** The state of the replica, and how many commits it has. */
  #replica: { readonly store: ReferenceStore; readonly commits: number };
  /** The commits that the counts of the current primary consist of. */
  history: Committed[] = [];
  /** Commits that failovers lost. */
  readonly lost: Committed[] = [];
  replicator!: Replicator;
  #n = 0;
  /** How far its clock is off, ms. */
  #skewMs = 0;
  #jumpMs = 0;
  #guarded!: Clock;

  constructor(
    readonly name: string,
    readonly world: RegionsWorld,
    private readonly skewMaxMs: number,
  ) {
    this.#setClock();
    const nonce = (): number => (world.plant === 'epoch without nonce' ? 1 : world.random.below(2 ** 32));
    const incarnation = { region: name, epoch: 1, nonce: nonce() };
    this.primary = new ReferenceStore(
      world.metrics,
      1,
      incarnation,
      nonce,
      ORDERS[world.plant],
      world.rules ?? RULES[world.plant],
      undefined,
      () => world.clock.wallMs(),
      { peers: NAMES.filter((other) => other !== name), rules: world.homes },
    );
    void this.primary.acquireLeases(this.wallMs);
    this.#replica = { store: this.primary.copy(), commits: 0 };
  }

  /** The clock of its stamps. */
  get wallMs(): number {
    return this.#guarded.wallMs();
  }

  /** The machine's clock jumps, or comes back. */
  jump(ms: number): void {
    this.#jumpMs = ms;
  }

  /** The gateway starts again, and trusts its machine's clock. */
  startClock(): void {
    const { world } = this;
    const machine: Clock = {
      wallMs: () => world.clock.wallMs() + this.#skewMs + this.#jumpMs,
      nowMs: () => world.clock.nowMs(),
      after: (ms, call) => world.clock.after(ms, call),
      soon: (call) => world.clock.soon(call),
    };
    this.#guarded = world.plant === 'no guarded clock' ? machine : new GuardedClock(machine, () => undefined);
  }

  /** Moves to another machine, which has another clock. */
  #setClock(): void {
    if (this.skewMaxMs > 0) this.#skewMs = this.world.random.below(2 * this.skewMaxMs) - this.skewMaxMs;
    this.startClock();
  }

  /** @returns the outcomes */
  async commit(operations: readonly Operation[]): Promise<Uint8Array> {
    this.#n += 1;
    const batch = { bucket: 0, producerId: 'prod-one', batchNumber: this.#n, atMs: this.wallMs, operations };
    return this.#again(batch);
  }

  start(peers: readonly Peer[], options: ReplicatorOptions): void {
    const { clock } = this.world;
    const dataClock: Clock = {
      wallMs: () => this.wallMs,
      nowMs: () => clock.nowMs(),
      after: (ms, call) => clock.after(ms, call),
      soon: (call) => clock.soon(call),
    };
    this.replicator = new Replicator(following(this), peers, dataClock, options);
    this.replicator.start();
  }

  replicate(): void {
    this.#replica = { store: this.primary.copy(), commits: this.history.length };
  }

  /** Promotes the replica. The gateway replays the commits that the replica lacks, or is down, too. */
  async failOver(replays: boolean): Promise<void> {
    const lost = this.history.slice(this.#replica.commits);
    this.lost.push(...lost);
    this.history = this.history.slice(0, this.#replica.commits);
    this.primary = this.#replica.store;
    // If the next failover comes soon, its replica lacks the effects of this one.
    this.#replica = { store: this.primary.copy(), commits: this.history.length };
    this.#setClock();
    this.primary.restart(this.wallMs);
    if (this.world.random.chance(0.5)) this.replicate();
    if (!replays) this.#n = this.history.at(-1)?.batch.batchNumber ?? 0;
    else for (const { batch, outcomes } of lost) await this.#again(this.world.replays(batch, outcomes), true);
  }

  async #again(batch: Batch, isReplay = false): Promise<Uint8Array> {
    const result = await this.primary.commit(batch);
    if (result.kind !== 'applied') throw new Error(`batch ${batch.batchNumber} got ${result.kind}`);
    this.#remember(batch, result, isReplay);
    return result.outcomes;
  }

  #remember(batch: Batch, { outcomes }: Extract<CommitResult, { kind: 'applied' }>, isReplay: boolean): void {
    const toggleUpdates = batch.operations.flatMap((operation) => {
      const { kind, post, metric, actor } = operation;
      return kind === 'set' ? [{ operation, stamp: this.primary.registerStamp(post, metric, actor!) }] : [];
    });
    const anonymousLikes = batch.operations.filter(({ kind }, i) => kind === 'adjust' && (outcomes[i]! & APPLIED) > 0);
    this.history.push({ batch, outcomes, isReplay, toggleUpdates, anonymousLikes });
  }
}

/** Three regions with links as bad as a test wants, under a seed. */
export class RegionsWorld {
  readonly clock = new SimulatedClock();
  readonly regions: readonly Region[];
  readonly metrics: Metrics;
  /** Counting rules in place of those of the plant. */
  readonly rules: CountingRules | undefined;
  readonly homes: HomeRules;
  /** Makes the batch that gateways replay of one that was lost. */
  replays: (batch: Batch, outcomes: Uint8Array) => Batch = (batch) => batch;
  readonly #cut = new Set<string>();
  /** Names of two regions: calls of the first one to the second one fail, while answers to calls of the second one come. */
  readonly blocked = new Set<string>();
  weather: Weather = { lost: 0, answerLost: 0, twice: 0, late: 0 };

  constructor(
    readonly random: Random,
    readonly plant: Plant = 'none',
    {
      intervalMs = 100,
      skewMs = 0,
      antiEntropyPeriodMs = NEVER_MS,
      metrics = METRICS,
      rules,
      homes = HOME_RULES,
    }: {
      intervalMs?: number;
      skewMs?: number;
      antiEntropyPeriodMs?: number;
      metrics?: Metrics;
      rules?: CountingRules;
      homes?: HomeRules;
    } = {},
  ) {
    this.metrics = metrics;
    this.rules = rules;
    this.homes = homes;
    this.regions = NAMES.map((name) => new Region(name, this, skewMs));
    for (const region of this.regions) {
      const peers = this.regions.filter((other) => other !== region).map((other) => new LossyPeer(this, region, other));
      const options = {
        intervalMs,
        buckets: 1,
        metrics: plant === 'put off when its update comes' ? METRICS : metrics,
        antiEntropyPeriodMs,
        random: () => random.next(),
        warn: () => undefined,
      };
      region.start(peers, options);
    }
  }

  /** Cuts the link in one direction. */
  cut(from: number, to: number): void {
    this.#cut.add(`${from} ${to}`);
  }

  mend(): void {
    this.#cut.clear();
    this.blocked.clear();
    this.weather = { lost: 0, answerLost: 0, twice: 0, late: 0 };
  }

  isCut(from: Region, to: Region): boolean {
    return this.#cut.has(`${this.regions.indexOf(from)} ${this.regions.indexOf(to)}`);
  }

  close(): void {
    for (const { replicator } of this.regions) void replicator.close();
  }
}

/** The region's store, on whichever server it is now. */
function following(region: Region): ReplicatedStore {
  return {
    losesCommitsOnFailover: true,
    get remoteToggles() {
      return region.primary.remoteToggles;
    },
    acquireLeases: () => region.primary.acquireLeases(region.wallMs),
    bucketStatus: (buckets) => region.primary.bucketStatus(buckets),
    changesSince: (requests, peers, limit) => region.primary.changesSince(requests, peers, limit),
    observeIncarnations: (name, incarnations) => region.primary.observeIncarnations(name, incarnations),
    fullSyncPage: (buckets, cursor, limit) => region.primary.fullSyncPage(buckets, cursor, limit),
    readPosts: (posts) => region.primary.readPosts(posts),
    merge: (deltas) => region.primary.merge(deltas),
    startIncarnation: (buckets, incarnation) => {
      const rewindsClock = incarnation.rewindsClock && region.world.plant !== 'no rewind';
      return region.primary.startIncarnation(buckets, { ...incarnation, rewindsClock });
    },
    completeBackfill: (buckets) => region.primary.completeBackfill(buckets),
  };
}
