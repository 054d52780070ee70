import type { Update } from '../../src/protocol/messages.js';
import type { Acknowledgement, KnownVersion, ClientOperation, Snapshot } from './transport.js';

export interface Counts {
  readonly likes: number;
  readonly views: number;
  /** Viewers now. */
  readonly live: number;
  readonly [metric: string]: number;
}

export interface Change {
  /** What is confirmed, with this client's own operations that are not acknowledged yet. */
  readonly counts: Counts;
  /** What differs from the counts told before, by metric; empty the first time. */
  readonly delta: Readonly<Record<string, number>>;
  /** The toggles that are on for this actor, each as it was last asked for. */
  readonly mine: readonly string[];
  /** `applySnapshot`: what the gateway has, as watching begins or after a reconnect; `remote`: others; `local`: this client. */
  readonly source: 'snapshot' | 'remote' | 'local';
}

interface Pending extends ClientOperation {
  /** It was sent at least once, so the confirmed counts may hold it already. */
  markSent: boolean;
}

/**
 * The counts of one post as this client shows them: a pure state, fed with snapshots, frames, acknowledgements and this
 * client's own operations, in any order, some of them lost or repeated.
 *
 * Totals are absolute, so of two the higher version is right. What is not acknowledged is added on top. Only, a frame does
 * not say whether it holds an operation that is on its way: if it does, adding it would show one too many, until the
 * acknowledgement takes it back. So what is certain are two bounds, and in between stands what was expected when the
 * client last did something of its own:
 *
 *     confirmed + what can't be in it yet  <=  shown  <=  confirmed + all that is pending
 *
 * A tally's own additions thus never go back on success, and when nothing is pending, what is shown is what is confirmed.
 */
export class PostCounts {
  #confirmed: ReadonlyMap<string, number> | undefined;
  #version: KnownVersion | undefined;
  #toggles = new Set<string>();
  #togglesAt: KnownVersion | undefined;
  #mineKnown = false;
  /** By seq, in its order. */
  readonly #pending = new Map<number, Pending>();
  /** By metric, while operations of it are pending. */
  readonly #expected = new Map<string, number>();
  #lastEmitted: { readonly counts: ReadonlyMap<string, number>; readonly mine: readonly string[] } | undefined;

  /** What to tell the gateway when subscribing again; undefined while its snapshot would say something new. */
  get knownVersion(): KnownVersion | undefined {
    return this.#mineKnown ? this.#version : undefined;
  }

  get isIdle(): boolean {
    return this.#pending.size === 0;
  }

  addPending(operation: ClientOperation): void {
    this.#shift(operation.metric, () => this.#pending.set(operation.seq, { ...operation, markSent: false }));
  }

  /** It is on its way, for the first time or again. */
  sent(seq: number): void {
    const pending = this.#pending.get(seq);
    if (!pending || pending.markSent) return;
    const shown = this.#shown(pending.metric);
    pending.markSent = true;
    if (shown !== undefined) this.#expected.set(pending.metric, shown);
  }

  /** Without counts it stays pending until `dropAcknowledged`, since it can't be told which frame will hold it. */
  acknowledge(seq: number, { counts, on }: Acknowledgement): void {
    if (!counts) return;
    const pending = this.#pending.get(seq);
    if (pending && on !== undefined && !isOlder(counts, this.#togglesAt)) {
      this.applyToggle(pending.metric, on);
      this.#togglesAt = [counts.e, counts.v];
    }
    this.#take(counts);
    this.#remove(seq);
  }

  /** The frames that came since its acknowledgement hold it. */
  dropAcknowledged(seq: number): void {
    const pending = this.#pending.get(seq);
    // Where toggles are told, others may have been told since.
    if (typeof pending?.value === 'boolean' && !this.#mineKnown) this.applyToggle(pending.metric, pending.value);
    this.#remove(seq);
  }

  /** It was not counted. */
  reject(seq: number): void {
    const pending = this.#pending.get(seq);
    if (pending) this.#shift(pending.metric, () => this.#remove(seq));
  }

  applySnapshot(update: Snapshot): void {
    const taken = this.#take(update);
    const { e, v, mine } = update;
    // A stream's versions are no sign of toggles: what other tabs do from here on is not told.
    this.#mineKnown = mine !== undefined;
    if (!mine || isOlder(update, this.#togglesAt)) return;
    this.#toggles = new Set(mine);
    this.#togglesAt = [e, v];
    if (!taken) return;
    // Counts and toggles of one moment: what is on in them is in them.
    for (const { metric, value } of this.#pending.values()) {
      if (typeof value === 'boolean') this.#expected.set(metric, this.#at(metric) + this.#effects(metric).total);
    }
  }

  applyFrame(update: Update): void {
    this.#take(update);
  }

  /** This actor's toggle was changed through another connection. */
  applyToggle(metric: string, on: boolean): void {
    if (on) this.#toggles.add(metric);
    else this.#toggles.delete(metric);
  }

  /** What subscribers are to be told; undefined while nothing is known, and when nothing has changed since. */
  takeChange(source: Change['source']): Change | undefined {
    if (!this.#confirmed) return undefined;
    const counts = new Map(this.#confirmed);
    const toggles = new Set(this.#toggles);
    for (const { metric, value } of this.#pending.values()) {
      counts.set(metric, this.#shown(metric) ?? 0);
      if (value === true) toggles.add(metric);
      if (value === false) toggles.delete(metric);
    }
    const before = this.#lastEmitted;
    const mine = [...toggles].sort();
    const delta = before ? difference(before.counts, counts) : {};
    if (before && Object.keys(delta).length === 0 && before.mine.join() === mine.join()) return undefined;
    this.#lastEmitted = { counts, mine };
    return { counts: asObject(counts), delta, mine, source };
  }

  /** What was told last, for who joins; undefined if nothing was. */
  get lastEmitted(): Change | undefined {
    if (!this.#lastEmitted) return undefined;
    return { counts: asObject(this.#lastEmitted.counts), delta: {}, mine: this.#lastEmitted.mine, source: 'snapshot' };
  }

  #at(metric: string): number {
    return this.#confirmed?.get(metric) ?? 0;
  }

  #remove(seq: number): void {
    this.#pending.delete(seq);
    const metrics = new Set(Array.from(this.#pending.values(), ({ metric }) => metric));
    for (const metric of this.#expected.keys()) if (!metrics.has(metric)) this.#expected.delete(metric);
  }

  /** What is shown moves by as much as the effect of all that is pending. */
  #shift(metric: string, change: () => void): void {
    const shown = this.#shown(metric);
    const before = this.#effects(metric).total;
    change();
    const { total } = this.#effects(metric);
    if (shown !== undefined && this.#pending.size > 0) this.#expected.set(metric, shown + total - before);
  }

  #shown(metric: string): number | undefined {
    if (!this.#confirmed) return undefined;
    const confirmed = this.#at(metric);
    const { least, most } = this.#effects(metric);
    const expected = this.#expected.get(metric) ?? confirmed + least;
    return Math.max(0, Math.min(Math.max(expected, confirmed + least), confirmed + most));
  }

  /** What the pending operations add: in all, and at least and at most if some of those sent are confirmed already. */
  #effects(metric: string): { total: number; least: number; most: number } {
    let on = this.#toggles.has(metric);
    let total = 0;
    const mayBeIn = [0];
    for (const { metric: changed, value, markSent: sent } of this.#pending.values()) {
      if (changed !== metric) continue;
      total += typeof value === 'number' ? value : Number(value) - Number(on);
      if (typeof value === 'boolean') on = value;
      if (sent) mayBeIn.push(total);
    }
    return { total, least: total - Math.max(...mayBeIn), most: total - Math.min(...mayBeIn) };
  }

  /** Whether the counts are now those of the update. */
  #take(update: Update): boolean {
    const { e, v, live } = update;
    const known = this.#version;
    if (this.#confirmed && known?.[0] === e && v <= known[1]) {
      this.#confirmed = new Map(this.#confirmed).set('live', live);
      return v === known[1];
    }
    this.#confirmed = metricsOf(update);
    this.#version = [e, v];
    return true;
  }
}

function isOlder({ e, v }: Update, known: KnownVersion | undefined): boolean {
  return known?.[0] === e && v < known[1];
}

function metricsOf(update: Update): Map<string, number> {
  const numbers = Object.entries(update).filter(([name, value]) => typeof value === 'number' && name !== 'v');
  return new Map(numbers as [string, number][]);
}

function asObject(counts: ReadonlyMap<string, number>): Counts {
  return Object.fromEntries(counts) as unknown as Counts;
}

function difference(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): Record<string, number> {
  const by = Array.from(after, ([metric, count]) => [metric, count - (before.get(metric) ?? 0)] as const);
  return Object.fromEntries(by.filter(([, delta]) => delta !== 0));
}
