import type { Update } from '../../src/protocol/messages.js';
import type { Acknowledgement, Known, Snapshot } from './transport.js';

export interface Operation {
  /** Its number within the session. */
  readonly seq: number;
  readonly post: string;
  readonly metric: string;
  /** What a toggle is set to, or what is added to a tally. */
  readonly value: boolean | number;
}

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
  /** `snapshot`: what the gateway has, as watching begins or after a reconnect; `remote`: others; `local`: this client. */
  readonly source: 'snapshot' | 'remote' | 'local';
}

interface Pending {
  readonly operation: Operation;
  /** It was sent at least once, so the confirmed counts may hold it already. */
  sent: boolean;
}

const NOT_METRICS = new Set(['post', 'e', 'v', 'd', 'mine']);

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
  #version: Known | undefined;
  #toggles = new Set<string>();
  #togglesAt: Known | undefined;
  #mineKnown = false;
  readonly #pending: Pending[] = [];
  /** By metric, while operations of it are pending. */
  readonly #expected = new Map<string, number>();
  #told: { readonly counts: ReadonlyMap<string, number>; readonly mine: readonly string[] } | undefined;

  /** What to tell the gateway when subscribing again; undefined while its snapshot would say something new. */
  get known(): Known | undefined {
    return this.#mineKnown ? this.#version : undefined;
  }

  get idle(): boolean {
    return this.#pending.length === 0;
  }

  begin(operation: Operation): void {
    this.#shift(operation.metric, () => this.#pending.push({ operation, sent: false }));
  }

  /** It is on its way, for the first time or again. */
  sent(seq: number): void {
    const pending = this.#find(seq);
    if (!pending || pending.sent) return;
    const { metric } = pending.operation;
    const shown = this.#shown(metric);
    pending.sent = true;
    if (shown !== undefined) this.#expected.set(metric, shown);
  }

  /** Without counts it stays pending until `forget`, since it can't be told which frame will hold it. */
  acknowledged(seq: number, { counts, on }: Acknowledgement): void {
    if (!counts) return;
    const pending = this.#find(seq);
    if (pending && on !== undefined && !isOlder(counts, this.#togglesAt)) {
      this.#toggle(pending.operation.metric, on);
      this.#togglesAt = [counts.e, counts.v];
    }
    this.#take(counts);
    this.#remove(seq);
  }

  /** The frames that came since its acknowledgement hold it. */
  forget(seq: number): void {
    const operation = this.#find(seq)?.operation;
    if (typeof operation?.value === 'boolean') this.#toggle(operation.metric, operation.value);
    this.#remove(seq);
  }

  /** It was not counted. */
  refused(seq: number): void {
    const pending = this.#find(seq);
    if (pending) this.#shift(pending.operation.metric, () => this.#remove(seq));
  }

  snapshot(update: Snapshot): void {
    const taken = this.#take(update);
    if (!update.mine || isOlder(update, this.#togglesAt)) return;
    this.#toggles = new Set(update.mine);
    this.#togglesAt = [update.e, update.v];
    this.#mineKnown = true;
    if (!taken) return;
    // Counts and toggles of one moment: what is on in them is in them.
    for (const { operation } of this.#pending) {
      const { metric, value } = operation;
      if (typeof value === 'boolean') this.#expected.set(metric, this.#at(metric) + this.#effects(metric).total);
    }
  }

  frame(update: Update): void {
    this.#take(update);
  }

  /** This actor's toggle was changed through another connection. */
  toggled(metric: string, on: boolean): void {
    this.#toggle(metric, on);
  }

  /** What subscribers are to be told; undefined while nothing is known, and when nothing has changed since. */
  news(source: Change['source']): Change | undefined {
    if (!this.#confirmed) return undefined;
    const counts = new Map(this.#confirmed);
    for (const { operation } of this.#pending) counts.set(operation.metric, this.#shown(operation.metric) ?? 0);
    const toggles = new Set(this.#toggles);
    for (const { operation } of this.#pending) {
      if (operation.value === true) toggles.add(operation.metric);
      if (operation.value === false) toggles.delete(operation.metric);
    }
    const before = this.#told;
    const mine = [...toggles].sort();
    const delta = before ? difference(before.counts, counts) : {};
    if (before && Object.keys(delta).length === 0 && before.mine.join() === mine.join()) return undefined;
    this.#told = { counts, mine };
    return { counts: asObject(counts), delta, mine, source };
  }

  /** What was told last, for who joins; undefined if nothing was. */
  get told(): Change | undefined {
    if (!this.#told) return undefined;
    return { counts: asObject(this.#told.counts), delta: {}, mine: this.#told.mine, source: 'snapshot' };
  }

  #at(metric: string): number {
    return this.#confirmed?.get(metric) ?? 0;
  }

  #find(seq: number): Pending | undefined {
    return this.#pending.find(({ operation }) => operation.seq === seq);
  }

  #remove(seq: number): void {
    const index = this.#pending.findIndex(({ operation }) => operation.seq === seq);
    if (index !== -1) this.#pending.splice(index, 1);
    for (const metric of this.#expected.keys()) {
      if (!this.#pending.some(({ operation }) => operation.metric === metric)) this.#expected.delete(metric);
    }
  }

  /** What is shown moves by as much as the effect of all that is pending. */
  #shift(metric: string, change: () => void): void {
    const shown = this.#shown(metric);
    const before = this.#effects(metric).total;
    change();
    const { total } = this.#effects(metric);
    if (shown !== undefined && this.#pending.length > 0) this.#expected.set(metric, shown + total - before);
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
    for (const { operation, sent } of this.#pending) {
      const { value } = operation;
      if (operation.metric !== metric) continue;
      total += typeof value === 'number' ? value : Number(value) - Number(on);
      if (typeof value === 'boolean') on = value;
      if (sent) mayBeIn.push(total);
    }
    return { total, least: total - Math.max(...mayBeIn), most: total - Math.min(...mayBeIn) };
  }

  #toggle(metric: string, on: boolean): void {
    if (on) this.#toggles.add(metric);
    else this.#toggles.delete(metric);
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

function isOlder({ e, v }: Update, known: Known | undefined): boolean {
  return known?.[0] === e && v < known[1];
}

function metricsOf(update: Update): Map<string, number> {
  const metrics = new Map<string, number>();
  for (const [name, value] of Object.entries(update)) {
    if (typeof value === 'number' && !NOT_METRICS.has(name)) metrics.set(name, value);
  }
  return metrics;
}

function asObject(counts: ReadonlyMap<string, number>): Counts {
  return Object.fromEntries(counts) as unknown as Counts;
}

function difference(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): Record<string, number> {
  const changed = [...after].filter(([metric, count]) => count !== (before.get(metric) ?? 0));
  return Object.fromEntries(changed.map(([metric, count]) => [metric, count - (before.get(metric) ?? 0)]));
}
