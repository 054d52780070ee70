import type { Update } from '../../src/protocol/messages.js';
import type { MetricRules } from './metric-rules.js';
import type { Acknowledgement, KnownVersion, ClientOperation, Snapshot } from './transport.js';

export interface Counts {
  readonly likes: number;
  readonly views: number;
  /** Viewers now. */
  readonly live: number;
  readonly [metric: string]: number;
}

export interface Change {
  /** The gateway's counts plus this client's own operations that are not acknowledged yet. */
  readonly counts: Counts;
  /** Differences from the counts of the previous change, by metric; empty the first time. */
  readonly delta: Readonly<Record<string, number>>;
  /** The toggles that are on for this actor, operations on their way included. */
  readonly mine: readonly string[];
  /** `snapshot`: the gateway's counts at the start or after a reconnect; `remote`: other actors; `local`: this client. */
  readonly source: 'snapshot' | 'remote' | 'local';
}

type Version = Pick<Update, 'e' | 'v'>;

interface Pending extends ClientOperation {
  /** True once the operation was sent: the gateway's counts may include it already. */
  wasSent: boolean;
  /** True if it was acknowledged without counts. */
  isAcknowledged: boolean;
  /** Counts of this version include it. */
  at?: KnownVersion;
}

/**
 * The counts of one post as this client shows them: pure state. It takes snapshots, frames, acknowledgements and this
 * client's own operations in any order; some of them may be lost or repeated.
 *
 * Totals are absolute: the update with the higher version wins, and pending operations are added on top. A frame does not
 * say whether it includes an operation that is on its way. Adding such an operation again would show one too many until
 * its acknowledgement arrives. Only two bounds are certain, and between them the client shows what it expected when it
 * last did something itself:
 *
 *     gateway + operations it can't include yet  <=  shown  <=  gateway + all pending operations
 *
 * An addition to a tally therefore never goes back on success, and with nothing pending the gateway's counts are shown.
 */
export class PostCounts {
  #gatewayCounts: ReadonlyMap<string, number> | undefined;
  #version: KnownVersion | undefined;
  #toggles = new Set<string>();
  /** The version of the last snapshot with toggles; then those of the changes after it, by metric. */
  #snapshotVersion: KnownVersion | undefined;
  readonly #toggleVersions = new Map<string, KnownVersion>();
  #receivesToggles = false;
  /** By metric, the change of a toggle that came after the gateway's counts: they may lack it. */
  readonly #lags = new Map<string, number>();
  /** Keyed by id, in the order in which they were made. */
  readonly #pending = new Map<number, Pending>();
  /** Keyed by metric, while operations that affect the metric are pending. */
  readonly #expected = new Map<string, number>();
  #lastEmitted: { readonly counts: ReadonlyMap<string, number>; readonly mine: readonly string[] } | undefined;

  constructor(private readonly rules: MetricRules) {}

  /** The version to subscribe again with; undefined while only a snapshot has the actor's toggles. */
  get knownVersion(): KnownVersion | undefined {
    return this.#receivesToggles ? this.#version : undefined;
  }

  get isIdle(): boolean {
    return this.#pending.size === 0;
  }

  addPending(operation: ClientOperation): void {
    const pending = { ...operation, wasSent: false, isAcknowledged: false };
    this.#moveShown(operation, () => this.#pending.set(operation.id, pending));
  }

  /** Records that the operation is on its way, for the first time or again. */
  sent(id: number): void {
    const pending = this.#pending.get(id);
    if (pending && !pending.wasSent) this.#moveShown(pending, () => (pending.wasSent = true));
  }

  /**
   * Without counts the operation stays pending until counts of its version come. Without a version no frame says whether it
   * includes it, nor does a snapshot that may have been read before. Then it ends with `dropAcknowledged`, or with the next
   * acknowledgement over a socket, which was read after it.
   */
  acknowledge({ id, metric }: Pick<ClientOperation, 'id' | 'metric'>, { counts, on, at }: Acknowledgement): void {
    const pending = this.#pending.get(id);
    if (pending) {
      pending.isAcknowledged = true;
      if (at) pending.at = at;
    }
    if (!counts) return this.#dropIncluded();
    this.#dropBefore(id, counts);
    if (on !== undefined) this.applyToggle(metric, on, counts);
    this.#applyTotals(counts);
    this.#remove(id);
  }

  /** Drops an operation that the frames since its acknowledgement include. */
  dropAcknowledged(id: number): void {
    const pending = this.#pending.get(id);
    // A connection that delivers toggles may have delivered a newer state since.
    if (typeof pending?.value === 'boolean' && !this.#receivesToggles) this.applyToggle(pending.metric, pending.value);
    this.#remove(id);
  }

  /** Drops an operation that was not counted. */
  reject(id: number): void {
    const pending = this.#pending.get(id);
    if (pending) this.#moveShown(pending, () => this.#remove(id));
  }

  applySnapshot(update: Snapshot): void {
    const taken = this.#applyTotals(update);
    const { e, v, mine } = update;
    // An older gateway's event stream does not deliver the toggles of other tabs, so its versions say nothing about them.
    this.#receivesToggles = mine !== undefined;
    if (!mine || isOlder(update, this.#snapshotVersion)) return;
    const newer = [...this.#toggleVersions].filter(([, version]) => isOlder(update, version));
    const toggles = this.#toggles;
    this.#toggles = new Set(mine);
    this.#snapshotVersion = [e, v];
    this.#toggleVersions.clear();
    for (const [metric, [epoch, version]] of newer)
      this.applyToggle(metric, toggles.has(metric), { e: epoch, v: version });
    if (!taken) return;
    // Counts and toggles come from the same moment: a toggle that is on is included in the count.
    for (const operation of this.#pending.values()) {
      for (const [metric, effect] of this.rules.effects(operation))
        if (typeof effect === 'boolean')
          this.#expected.set(metric, this.#gatewayCount(metric) + this.#effects(metric).total);
    }
  }

  applyFrame(update: Update): void {
    this.#applyTotals(update);
  }

  /**
   * Takes a toggle that this actor changed through another connection. It arrives before the counts that include it.
   * @param at the version of those counts, where it is known
   */
  applyToggle(metric: string, on: boolean, at: Partial<Version> = {}): void {
    for (const [changed, value] of this.rules.effects({ metric, value: on })) {
      if (this.#isOldToggle(changed, at)) continue;
      if (at.e !== undefined) this.#toggleVersions.set(changed, [at.e, at.v!]);
      if (this.#toggles.has(changed) !== value) this.#lags.set(changed, value ? 1 : -1);
      if (value) this.#toggles.add(changed);
      else this.#toggles.delete(changed);
    }
  }

  /** The change since the last call; undefined before the first counts, and when nothing has changed. */
  takeChange(source: Change['source']): Change | undefined {
    if (!this.#gatewayCounts) return undefined;
    const counts = new Map(this.#gatewayCounts);
    const toggles = new Set(this.#toggles);
    for (const operation of this.#pending.values()) {
      for (const [metric, effect] of this.rules.effects(operation)) {
        if (counts.has(metric)) counts.set(metric, this.#shown(metric)!);
        if (effect === true) toggles.add(metric);
        if (effect === false) toggles.delete(metric);
      }
    }
    const before = this.#lastEmitted;
    const mine = [...toggles].sort();
    const delta = before ? diffCounts(before.counts, counts) : {};
    if (before && Object.keys(delta).length === 0 && before.mine.join() === mine.join()) return undefined;
    this.#lastEmitted = { counts, mine };
    return { counts: toCounts(counts), delta, mine, source };
  }

  /** The last change, for a subscriber that joins; undefined before the first. */
  get lastEmitted(): Change | undefined {
    if (!this.#lastEmitted) return undefined;
    return { counts: toCounts(this.#lastEmitted.counts), delta: {}, mine: this.#lastEmitted.mine, source: 'snapshot' };
  }

  #isOldToggle(metric: string, at: Partial<Version>): boolean {
    return isOlder(at, this.#toggleVersions.get(metric) ?? this.#snapshotVersion);
  }

  #gatewayCount(metric: string): number {
    return this.#gatewayCounts?.get(metric) ?? 0;
  }

  #remove(id: number): void {
    this.#pending.delete(id);
    const left = [...this.#pending.values()];
    for (const metric of this.#expected.keys())
      if (!left.some((operation) => this.rules.effects(operation).has(metric))) this.#expected.delete(metric);
  }

  /** Moves the shown counts by the same amount as the effect of all pending operations. */
  #moveShown(operation: ClientOperation, change: () => void): void {
    const differences = Array.from(this.rules.effects(operation).keys(), (metric) => {
      return [metric, this.#shown(metric)! - this.#effects(metric).total] as const;
    });
    change();
    if (!this.#gatewayCounts || this.#pending.size === 0) return;
    for (const [metric, difference] of differences)
      this.#expected.set(metric, difference + this.#effects(metric).total);
  }

  #shown(metric: string): number | undefined {
    if (!this.#gatewayCounts) return undefined;
    const received = this.#gatewayCount(metric);
    const { least, most } = this.#effects(metric);
    const expected = this.#expected.get(metric) ?? received + least;
    const lag = this.#lags.get(metric) ?? 0;
    const bounded = Math.max(expected, received + least + Math.min(0, lag));
    return Math.max(0, Math.min(bounded, received + most + Math.max(0, lag)));
  }

  /** The sum of the pending operations, and its bounds if the gateway's counts include some of those that were sent. */
  #effects(metric: string): { total: number; least: number; most: number } {
    let on = this.#toggles.has(metric);
    let total = 0;
    const mayBeIn = [0];
    for (const operation of this.#pending.values()) {
      const effect = this.rules.effects(operation).get(metric);
      if (effect === undefined) continue;
      total += typeof effect === 'number' ? effect : Number(effect) - Number(on);
      if (typeof effect === 'boolean') on = effect;
      if (operation.wasSent) mayBeIn.push(total);
    }
    return { total, least: total - Math.max(...mayBeIn), most: total - Math.min(...mayBeIn) };
  }

  /** @returns whether the counts are now those of the update */
  #applyTotals(update: Update): boolean {
    const { e, v, live } = update;
    const current = this.#version;
    if (this.#gatewayCounts && current?.[0] === e && v <= current[1]) {
      this.#gatewayCounts = new Map(this.#gatewayCounts).set('live', live);
      return v === current[1];
    }
    this.#gatewayCounts = parseCounts(update);
    this.#version = [e, v];
    this.#lags.clear();
    this.#dropIncluded();
    return true;
  }

  /** Operations of one post take effect in order, so counts that include one include those before, answered or not. */
  #dropBefore(id: number, at: Partial<Version>): void {
    for (const earlier of [...this.#pending.values()]) {
      if (earlier.id >= id) break;
      if (typeof earlier.value === 'boolean' && !earlier.isAcknowledged && !this.#isOldToggle(earlier.metric, at))
        this.applyToggle(earlier.metric, earlier.value);
      this.dropAcknowledged(earlier.id);
    }
  }

  /** Drops what the counts include. Of that version they say what was on, too; later toggles have come by themselves, or will. */
  #dropIncluded(): void {
    const [epoch, version] = this.#version ?? [];
    const last = [...this.#pending.values()].findLast(({ at }) => at && at[0] === epoch && at[1] <= version!);
    if (!last) return;
    const { id, metric, value } = last;
    this.#dropBefore(id, {});
    if (typeof value === 'boolean' && last.at![1] === version) {
      this.applyToggle(metric, value);
      for (const changed of this.rules.effects({ metric, value }).keys()) this.#lags.delete(changed);
    }
    this.dropAcknowledged(id);
  }
}

function isOlder({ e, v }: Partial<Version>, current: KnownVersion | undefined): boolean {
  return current !== undefined && current[0] === e && v! < current[1];
}

function parseCounts(update: Update): Map<string, number> {
  const numbers = Object.entries(update).filter(([name, value]) => typeof value === 'number' && name !== 'v');
  return new Map(numbers as [string, number][]);
}

function toCounts(counts: ReadonlyMap<string, number>): Counts {
  return Object.fromEntries(counts) as unknown as Counts;
}

function diffCounts(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): Record<string, number> {
  const by = Array.from(after, ([metric, count]) => [metric, count - (before.get(metric) ?? 0)] as const);
  return Object.fromEntries(by.filter(([, delta]) => delta !== 0));
}
