import { computeTotal } from '../../src/counters/bucket.js';
import { VIEWS } from '../../src/counters/metrics.js';
import type { MilestoneHome, ReachedMilestone, SharedMilestones } from '../../src/counters/milestones.js';
import { DUPLICATE, ELSEWHERE, type Operation } from '../../src/counters/operation.js';
import { isHigher } from '../../src/counters/replication/home-rules.js';
import { key } from '../contract/operations.js';
import { type Decision, type HomesWorld, POST } from './homes-world.js';

/** The rules of histories of regions with milestones. */
export const INVARIANTS = {
  U: 'at most one winner of a milestone is ever final',
  L: 'there is a record if the count stays at or above an armed number',
  E: 'the winner is the Nth of all regions',
  R: 'what was acknowledged before an operation was sent comes before it',
  H1: 'a region counts nothing of the metric after it has confirmed a home',
  H2: 'once all have confirmed, the home has what each of them has counted',
  H3: 'a home decides only while all have confirmed it, and nothing that another one has decided',
  H4: 'an operation is counted at most once',
  counted: 'every operation is counted',
  answered: 'nobody waits once everything is healed',
  released: 'a home that is needed no more is released in all regions',
  agreed: 'all regions have the same counts, records and home in the end',
} as const;
export type Invariant = keyof typeof INVARIANTS;

type Region = HomesWorld['regions']['regions'][number];

/** Checks a history while it runs, and at its end. */
export class HomeInvariants {
  /** How it was broken first. */
  readonly broken = new Map<Invariant, string>();
  /** The winners that each region has recorded itself, by n. */
  readonly #winners = new Map<number, Set<string>>();
  /** Winners that were final when somebody read them, by n. */
  readonly #finals = new Map<number, Set<string>>();
  /** The own count of a region when it was first seen with the home that it has confirmed. */
  readonly #frozen = new Map<string, { readonly since: string; readonly counted: string }>();

  constructor(private readonly world: HomesWorld) {}

  /** After each commit. @param frozenFor before the commit */
  checkCommit(region: Region, operation: Operation, outcome: number, frozenFor: MilestoneHome | null): void {
    if (!isCounted(outcome)) return;
    const name = nameOf(operation);
    if (frozenFor !== null)
      this.#break('H1', `${region.name} counted ${name} after it had confirmed ${text(frozenFor)}`);
    if (this.world.hasLostFreeze) return;
    const times = this.world.regions.regions.flatMap(({ history }) =>
      history.filter(({ batch, outcomes }) =>
        batch.operations.some((one, i) => isSame(one, operation) && isCounted(outcomes[i]!)),
      ),
    );
    if (times.length > 1) this.#break('H4', `${name} was counted ${times.length} times`);
  }

  /** After each operation that has reached a milestone. */
  checkDecision({ region, record, trueTotal, trueTotalBefore, knowsAll }: Decision): void {
    const { mode, hasFailedOver } = this.world;
    const { n, total, missed } = record;
    if (missed || !knowsAll || (mode === 'order' && hasFailedOver)) return;
    for (const other of this.#others(region)) {
      const known = this.world.milestones(other)?.reached ?? [];
      const earlier = known.find((one) => one.n === n && one.region === other.name && !one.missed);
      if (earlier !== undefined)
        this.#break('H3', `${region.name} decided about ${n}, which ${other.name} had decided`);
    }
    if (mode === 'order') return;
    const home = this.#shared(region)!.home!;
    for (const other of this.#others(region)) {
      const theirs = this.#shared(other)?.home ?? null;
      const isStopped = theirs?.mode === 'strict' && !isHigher(home, theirs);
      if (!isStopped) this.#break('H3', `${text(home)} decided about ${n}, and ${other.name} had ${text(theirs)}`);
    }
    if (total !== trueTotal)
      this.#break('E', `the winner of ${n} has the total ${total}, and all have counted ${trueTotal}`);
    if (trueTotalBefore >= n) this.#break('E', `the winner of ${n} came at ${trueTotalBefore}`);
  }

  /** After each step. */
  check(): void {
    for (const region of this.world.regions.regions) {
      this.#checkFrozen(region);
      this.#checkBarrier(region);
      this.#checkWinners(region);
    }
  }

  /** After a time in which records may become final. */
  async checkFinals(): Promise<void> {
    for (const { primary } of this.world.regions.regions) {
      const { reached } = await primary.milestones.read(POST, this.world.metric);
      for (const record of reached) {
        if (record.final) this.#checkOne('U', this.#finals, record);
      }
    }
  }

  /** After everything is healed, and all clients have sent what they want. @param wanted what was armed, and neither disarmed nor dropped */
  async checkEnd(wanted: readonly number[]): Promise<void> {
    this.check();
    await this.checkFinals();
    this.#checkRecords(wanted);
    this.#checkOrder();
    this.#checkCounts();
    this.#checkAgreement();
  }

  #checkFrozen(region: Region): void {
    const home = this.frozenFor(region);
    if (home === null) return void this.#frozen.delete(region.name);
    const { epoch, nonce } = region.primary.buckets[0]!.incarnation;
    const since = `${epoch} ${nonce} ${text(home)}`;
    const counted = this.#entryOf(region, region);
    const before = this.#frozen.get(region.name);
    if (before?.since !== since) this.#frozen.set(region.name, { since, counted });
    else if (before.counted !== counted)
      this.#break(
        'H1',
        `${region.name} went from ${before.counted} to ${counted} after it had confirmed ${text(home)}`,
      );
  }

  /** @returns the home that counts for the region, if it is another one */
  frozenFor(region: Region): MilestoneHome | null {
    const home = this.#shared(region)?.home;
    return home?.mode === 'strict' && home.region !== region.name ? home : null;
  }

  #checkBarrier(region: Region): void {
    const { world } = this;
    const home = this.#shared(region)?.home;
    if (home?.region !== region.name || home.mode !== 'strict' || !world.knowsAll(region)) return;
    const bucket = region.primary.buckets[0]!;
    if (bucket.homes.findUnconfirmed(POST, world.metric).length > 0) return;
    for (const other of this.#others(region)) {
      const [known, own] = [this.#entryOf(region, other), this.#entryOf(other, other)];
      if (known !== own) this.#break('H2', `${text(home)} knows ${known} of ${other.name}, which has ${own}`);
    }
    if (world.metric === VIEWS) return;
    const wrong = world.clients.filter(({ number }) => {
      return bucket.hasMember(POST, world.metric, key(number)) !== world.isOn(key(number));
    });
    if (wrong.length > 0) this.#break('H2', `${text(home)} lacks the last change of ${wrong.length} actors`);
  }

  /** @returns what a region knows that another one has counted */
  #entryOf(region: Region, other: Region): string {
    const counter = region.primary.buckets[0]!.post(POST)?.metrics[this.world.metric]?.counter ?? [];
    const entry = counter.find(({ incarnation }) => incarnation.region === other.name);
    return entry === undefined ? '0' : `${entry.p - entry.n}`;
  }

  /** A failover may lose a record that is not final. */
  #checkWinners(region: Region): void {
    if (this.world.hasFailedOver) return;
    for (const record of this.world.milestones(region)?.reached ?? []) {
      if (record.region === region.name) this.#checkOne('U', this.#winners, record);
    }
  }

  #checkOne(invariant: Invariant, known: Map<number, Set<string>>, record: ReachedMilestone): void {
    const names = (known.get(record.n) ?? new Set()).add(describe(record));
    known.set(record.n, names);
    if (names.size > 1) this.#break(invariant, `${record.n} was reached by ${[...names].join(' and by ')}`);
  }

  #checkRecords(wanted: readonly number[]): void {
    const total = this.world.trueTotal();
    for (const n of wanted) {
      const hasRecord = this.world.regions.regions.some((one) => this.world.listReached(one).includes(n));
      if (total >= n && !hasRecord) this.#break('L', `nobody is named for ${n}, and all have counted ${total}`);
    }
  }

  /** Where nothing was lost. */
  #checkOrder(): void {
    const { world } = this;
    if (world.mode === 'order' || world.hasFailedOver || world.metric !== VIEWS) return;
    for (const { record } of world.decisions.filter(({ record }) => !record.missed)) {
      const { n, session, seq } = record;
      const span = world.spans.get(`${session!.lo}/${seq}`)!;
      const name = `the winner of ${n}`;
      if (span.acknowledgedBefore >= n)
        this.#break('R', `${span.acknowledgedBefore} were acknowledged before ${name} was sent`);
      if (span.sentUntil < n) this.#break('R', `${span.sentUntil} were sent when ${name} was acknowledged`);
    }
  }

  #checkCounts(): void {
    const { world } = this;
    const waiting = world.clients.filter(({ pending }) => pending !== null).length;
    if (waiting > 0) this.#break('answered', `${waiting} clients still wait`);
    const twice = world.appliedTwice();
    if (twice.length > 0) this.#break('H4', `counted twice: ${twice.join(', ')}`);
    if (world.hasFailedOver || world.metric !== VIEWS || waiting > 0) return;
    const [sent, counted] = [world.sentViews, world.trueTotal()];
    if (counted !== sent)
      this.#break(counted < sent ? 'counted' : 'H4', `${counted} views are counted, and ${sent} were sent`);
  }

  #checkAgreement(): void {
    const { world } = this;
    const { regions } = world.regions;
    const held = regions.filter((one) => this.#shared(one)?.home?.mode === 'strict').map(({ name }) => name);
    if (held.length > 0) this.#break('released', `${held.join()} still have a home`);
    const states = regions.map((region) => {
      const total = computeTotal(region.primary.buckets[0]!.post(POST)?.metrics[world.metric]);
      const records = (world.milestones(region)?.reached ?? []).map((one) => `${one.n} by ${describe(one)}`).sort();
      return `${total}, ${text(this.#shared(region)?.home ?? null)}, ${records.join(', ')}`;
    });
    const own = `${world.trueTotal()},`;
    if (new Set(states).size > 1) this.#break('agreed', states.join('; '));
    else if (!states[0]!.startsWith(own)) this.#break('agreed', `all have counted ${own} and know ${states[0]}`);
  }

  #shared(region: Region): SharedMilestones | undefined {
    return this.world.milestones(region)?.shared;
  }

  #others(region: Region): Region[] {
    return this.world.regions.regions.filter((one) => one !== region);
  }

  #break(invariant: Invariant, how: string): void {
    if (!this.broken.has(invariant)) this.broken.set(invariant, how);
  }
}

function isCounted(outcome: number): boolean {
  return outcome !== ELSEWHERE && (outcome & DUPLICATE) === 0;
}

function isSame(one: Operation, { session, seq }: Operation): boolean {
  return one.seq === seq && one.session!.lo === session!.lo;
}

function nameOf({ session, seq }: Operation): string {
  return `${session!.lo}/${seq}`;
}

function describe({ missed, session, seq, total }: ReachedMilestone): string {
  return missed ? 'nobody' : `${session?.lo}/${seq} with ${total}`;
}

function text(home: MilestoneHome | null): string {
  return home === null ? 'no home' : `${home.region} ${home.number} ${home.mode}`;
}
