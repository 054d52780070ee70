import type { Batch } from '../../src/counters/batch.js';
import type { Key64 } from '../../src/counters/ids.js';
import type { ArmResult, HomeMode, Milestones, ReachedMilestone } from '../../src/counters/milestones.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import { DUPLICATE, ELSEWHERE, type Operation } from '../../src/counters/operation.js';
import { compareIncarnations } from '../../src/counters/pn-counter.js';
import { key } from '../contract/operations.js';
import type { Random } from '../support/random.js';
import { HomeInvariants } from './home-invariants.js';
import { countingRulesOf, type HomePlant, rulesOf, setPlant } from './home-plants.js';
import { RegionsWorld } from './regions-world.js';

export const POST = 'a';

/** A former home forwards to the present one. */
const HOPS_MAX = 2;

type Region = RegionsWorld['regions'][number];

/** One who adds, and sends each operation until it is answered. */
interface Client {
  readonly region: Region;
  readonly number: number;
  seq: number;
  pending: Operation | null;
  isSending: boolean;
}

/** A decision of some region, as it was made. */
export interface Decision {
  readonly region: Region;
  readonly record: ReachedMilestone;
  /** The sum over all regions right after the operation. */
  readonly trueTotal: number;
  /** The same just before the operation. */
  readonly trueTotalBefore: number;
  /** Whether the region knew of all failovers: else it may have the confirmation of a region that has lost it. */
  readonly knowsAll: boolean;
}

/** Three regions in which one metric has milestones, gateways that forward, and clients that retry. */
export class HomesWorld {
  readonly regions: RegionsWorld;
  readonly clients: readonly Client[];
  readonly decisions: Decision[] = [];
  readonly invariants = new HomeInvariants(this);
  /** By operation: views that were acknowledged before it was sent, and views that were sent until it was acknowledged. */
  readonly spans = new Map<string, { readonly acknowledgedBefore: number; sentUntil: number }>();
  /** Only puts likes on, so that their number is reached. */
  isEnding = false;
  hasFailedOver = false;
  #acknowledgedViews = 0;
  /** Whether a failover has lost that a region had stopped counting, or what it had forwarded. */
  hasLostFreeze = false;
  readonly metric: number;

  constructor(
    readonly random: Random,
    readonly mode: Exclude<HomeMode, 'released'>,
    plant: HomePlant,
    skewMs: number,
    metric?: number,
  ) {
    this.metric = metric ?? (mode === 'order' || random.chance(0.5) ? LIKES : VIEWS);
    setPlant(plant);
    this.regions = new RegionsWorld(random, 'none', {
      intervalMs: random.pick([200, 800]),
      skewMs,
      homes: rulesOf(plant, () => this.regions.clock.nowMs()),
      rules: countingRulesOf(plant),
    });
    if (plant !== 'replays of forwarded operations') this.regions.replays = withoutForwarded;
    this.clients = this.regions.regions.flatMap((region, i) =>
      Array.from({ length: 3 }, (_, n): Client => ({
        region,
        number: 10 * (i + 1) + n,
        seq: 0,
        pending: null,
        isSending: false,
      })),
    );
  }

  milestones({ primary }: Region): Milestones | undefined {
    return primary.buckets[0]!.milestones.get(POST, this.metric);
  }

  /** The sum over all regions, which none of them knows. */
  trueTotal(): number {
    if (this.metric === VIEWS) {
      return this.regions.regions.reduce((sum, { name, primary }) => {
        const state = primary.buckets[0]!.post(POST)?.metrics[VIEWS];
        const own = state?.counter.find(({ incarnation }) => incarnation.region === name);
        return sum + (own === undefined ? 0 : own.p - own.n);
      }, 0);
    }
    return this.clients.filter(({ number }) => this.isOn(key(number))).length;
  }

  /** Whether the latest update of any region turned the like on. A region drops its register once all have the update. */
  isOn(actor: Key64): boolean {
    const buckets = this.regions.regions.map(({ primary }) => primary.buckets[0]!);
    const stamps = buckets.map((bucket) => bucket.registerStamp(POST, LIKES, actor));
    const latest = Math.max(...stamps);
    // A failover loses also what other regions have dropped since.
    const hasAll = (bucket: (typeof buckets)[number]): boolean =>
      bucket.replication.state.syncedFrom.length === buckets.length - 1;
    const isKnown = latest > 0 || !buckets.some(hasAll);
    const source = isKnown ? buckets[stamps.indexOf(latest)]! : buckets.find(hasAll)!;
    return source.hasMember(POST, LIKES, actor);
  }

  listReached(region: Region): readonly number[] {
    return (this.milestones(region)?.reached ?? []).map(({ n }) => n);
  }

  async arm(region: Region, n: number, from: number, takesOver = false): Promise<ArmResult> {
    const options = this.mode === 'strict' ? { mode: this.mode, from, takesOver } : { mode: this.mode, takesOver };
    const result = await region.primary.milestones.arm(POST, this.metric, n, options);
    region.replicate();
    return result;
  }

  async disarm(region: Region, n: number): Promise<boolean> {
    const isDisarmed = await region.primary.milestones.disarm(POST, this.metric, n);
    region.replicate();
    return isDisarmed;
  }

  /** Sends the client's next operation, or the last one again. @returns whether it was answered */
  async send(client: Client): Promise<boolean> {
    if (client.isSending) return false;
    client.isSending = true;
    client.pending ??= this.#next(client);
    const outcome = await this.#perform(client.region, client.pending);
    client.isSending = false;
    const isAnswered = outcome !== null && (outcome & ELSEWHERE) !== ELSEWHERE && !this.random.chance(0.1);
    if (!isAnswered) return false;
    const { kind, value, session, seq } = client.pending;
    client.pending = null;
    if (kind === 'add') this.#acknowledgedViews += value;
    this.spans.get(`${session!.lo}/${seq}`)!.sentUntil = this.sentViews;
    return true;
  }

  /** Views of all operations that clients have sent. */
  sentViews = 0;

  #next(client: Client): Operation {
    client.seq += 1;
    const { number, seq } = client;
    this.spans.set(`${1_000 + number}/${seq}`, { acknowledgedBefore: this.#acknowledgedViews, sentUntil: Infinity });
    const about = { post: POST, metric: this.metric, actor: key(number), session: key(1_000 + number), seq };
    if (this.metric === VIEWS) {
      const value = this.random.chance(0.2) ? this.random.pick([2, 3, 7]) : 1;
      this.sentViews += value;
      return { ...about, kind: 'add', value };
    }
    return { ...about, kind: 'set', value: this.isEnding || this.random.chance(0.7) ? 1 : 0 };
  }

  /** @returns `null`: no answer came */
  async #perform(region: Region, operation: Operation): Promise<number | null> {
    let at = region;
    let outcome = await this.#commit(at, operation);
    for (let hops = 0; outcome === ELSEWHERE && hops < HOPS_MAX; hops++) {
      const known = hops === 0 ? operation : { ...operation, isForwarded: true as const, hops };
      const name = at.primary.buckets[0]!.homes.forwardTo(known);
      const next = this.regions.regions.find((one) => one.name === name);
      if (next === undefined || this.#isLost(at, next)) return null;
      await this.#pause(this.random.below(30));
      const from = at;
      at = next;
      outcome = await this.#commit(at, { ...operation, isForwarded: true, hops: hops + 1 });
      if (this.#isLost(at, from)) return null;
    }
    return outcome;
  }

  #isLost(from: Region, to: Region): boolean {
    return this.regions.isCut(from, to) || this.random.chance(this.regions.weather.lost / 2);
  }

  async #commit(region: Region, operation: Operation): Promise<number> {
    const before = this.milestones(region)?.reached.length ?? 0;
    const trueTotalBefore = this.trueTotal();
    const frozenFor = this.invariants.frozenFor(region);
    const [outcome] = await region.commit([operation]);
    this.invariants.checkCommit(region, operation, outcome!, frozenFor);
    const records = this.milestones(region)?.reached.slice(before) ?? [];
    const trueTotal = this.trueTotal();
    for (const record of records) {
      const decision = { region, record, trueTotal, trueTotalBefore, knowsAll: this.knowsAll(region) };
      this.decisions.push(decision);
      this.invariants.checkDecision(decision);
    }
    return outcome!;
  }

  /** Whether the region knows the present incarnations of all. */
  knowsAll({ primary: { buckets } }: Region): boolean {
    return this.regions.regions.every(({ name, primary }) => {
      const { incarnation } = primary.buckets[0]!;
      const known = buckets[0]!.replication.latestIncarnation(name);
      return buckets[0]!.incarnation.region === name || compareIncarnations(known, incarnation) === 'same';
    });
  }

  /** The regions that have another one count for them. */
  listFrozen(): Region[] {
    return this.regions.regions.filter(({ primary }) => primary.buckets[0]!.homes.isFrozen(POST, this.metric));
  }

  /** Fails a region over. Its gateway replays what was lost. */
  async failOver(region: Region): Promise<void> {
    this.hasFailedOver = true;
    const before = this.#confirmationNumber(region);
    const lostBefore = region.lost.length;
    await region.failOver(true);
    const hasLostMarks = region.lost.slice(lostBefore).some(({ outcomes }) => outcomes.includes(ELSEWHERE));
    this.hasLostFreeze ||= hasLostMarks || this.#confirmationNumber(region) < before;
  }

  #confirmationNumber(region: Region): number {
    const confirmations = this.milestones(region)?.shared?.confirmations ?? [];
    return confirmations.find((one) => one.region === region.name)?.home.number ?? 0;
  }

  /**
   * Operations that were applied in two regions. A region that has lost its freeze does not know that a client's retry was forwarded
   * before; but its gateway knows what it has forwarded, and does not replay it.
   */
  appliedTwice(): string[] {
    const { regions } = this.regions;
    if (this.hasLostFreeze) {
      return regions.flatMap(({ history, lost }) => {
        const forwarded = new Set(lost.flatMap((one) => namesOf(one, (outcome) => outcome === ELSEWHERE)));
        return history
          .flatMap((one) => (one.isReplay ? namesOf(one, isDone) : []))
          .filter((name) => forwarded.has(name));
      });
    }
    const applied = regions.flatMap(({ history }) => history.flatMap((one) => namesOf(one, isDone)));
    return applied.map((name) => name.replace(/ .*$/, '')).filter((name, i, all) => all.indexOf(name) < i);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.regions.clock.after(ms, resolve));
  }
}

function isDone(outcome: number): boolean {
  return outcome !== ELSEWHERE && (outcome & DUPLICATE) === 0;
}

/** @returns session, seq and number of the batch of each operation with such an outcome */
function namesOf({ batch, outcomes }: Region['history'][number], isWanted: (outcome: number) => boolean): string[] {
  const wanted = batch.operations.filter((_, i) => isWanted(outcomes[i]!));
  return wanted.map(({ session, seq }) => `${session!.lo}/${seq} ${batch.batchNumber}`);
}

/** Gateways do not retain what another region has counted. */
function withoutForwarded(batch: Batch, outcomes: Uint8Array): Batch {
  return { ...batch, operations: batch.operations.filter((_, i) => outcomes[i] !== ELSEWHERE) };
}
