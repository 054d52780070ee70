import { APPLIED, DUPLICATE, ON, type Operation, REACHED } from '../../src/counters/operation.js';
import type { Batch } from '../../src/counters/batch.js';
import type { Key64 } from '../../src/counters/ids.js';
import type { Delta } from '../../src/counters/replication/delta.js';

/** Outcome bits that a ledger foretells. */
const FORETOLD = APPLIED | DUPLICATE | ON | REACHED;

/** A change of the store, in the order in which it was committed. */
export type Change = { readonly atMs: number } & (
  | { readonly kind: 'batch'; readonly batch: Batch; readonly outcomes: Uint8Array }
  | { readonly kind: 'arm' | 'disarm'; readonly post: string; readonly metric: number; readonly n: number }
  /** `total`: what a region had counted so far of a tally of the post. */
  | {
      readonly kind: 'import';
      readonly post: string;
      readonly metric: number;
      readonly total: number;
      readonly delta: Delta;
    }
);

/** The operation with which a total first reached a milestone, as a ledger has it. */
export interface Winner {
  readonly n: number;
  readonly actor: Key64 | null;
  readonly session: Key64 | null;
  readonly seq: number;
  readonly kind: Operation['kind'];
  readonly value: number;
  readonly total: number;
  readonly v: number;
  readonly atMs: number;
  readonly recordedAtMs: number;
  readonly missed: boolean;
}

interface MetricLedger {
  readonly members: Set<string>;
  /** Counted here without an actor. */
  counted: number;
  /** Counted by another region. */
  imported: number;
  readonly armed: Set<number>;
  readonly winners: Map<number, Winner>;
}

const NOBODY = { actor: null, session: null, seq: 0, kind: 'add', value: 0 } as const;

/**
 * Counts what was committed, from the definition: the winner of N is the operation before which the total was below N, and after which it is
 * not. It shares no code with the stores.
 */
export class MilestonesLedger {
  readonly #metrics = new Map<string, MetricLedger>();
  readonly #marks = new Map<string, number>();
  readonly #versions = new Map<string, number>();

  /** @param otherOptions of each metric: an actor that puts one on puts these off */
  constructor(private readonly otherOptions: readonly (readonly number[])[]) {}

  static after(otherOptions: readonly (readonly number[])[], changes: readonly Change[]): MilestonesLedger {
    const ledger = new MilestonesLedger(otherOptions);
    for (const change of changes) ledger.add(change);
    return ledger;
  }

  /** @returns what is wrong with the outcomes of a batch; `''`: nothing */
  add(change: Change): string {
    if (change.kind === 'batch') return this.#addBatch(change.batch, change.outcomes, change.atMs);
    const metric = this.#metric(change.post, change.metric);
    if (change.kind === 'disarm') metric.armed.delete(change.n);
    else if (change.kind === 'import') this.#import(metric, change);
    else if (change.n > computeTotal(metric) && !metric.winners.has(change.n)) metric.armed.add(change.n);
    return '';
  }

  total(post: string, metric: number): number {
    return computeTotal(this.#metric(post, metric));
  }

  /** Ascending. */
  armed(post: string, metric: number): readonly number[] {
    return [...this.#metric(post, metric).armed].sort((a, b) => a - b);
  }

  /** In the order of `n`. */
  winners(post: string, metric: number): readonly Winner[] {
    return [...this.#metric(post, metric).winners.values()].sort((a, b) => a.n - b.n);
  }

  #addBatch({ operations, atMs }: Batch, outcomes: Uint8Array, nowMs: number): string {
    const changed = new Set<string>();
    const wrong = operations.flatMap((operation, i) => {
      const expected = this.#operate(operation, { atMs, recordedAtMs: nowMs }, changed);
      const outcome = outcomes[i]! & FORETOLD;
      return outcome === expected ? [] : [`${describe(operation)} has outcome ${outcome} instead of ${expected}`];
    });
    for (const post of changed) this.#versions.set(post, this.#nextVersion(post));
    return wrong.join('; ');
  }

  #operate(
    operation: Operation,
    times: { readonly atMs: number; readonly recordedAtMs: number },
    changed: Set<string>,
  ): number {
    const { post, session, seq, kind, value, actor } = operation;
    const metric = this.#metric(post, operation.metric);
    if (session !== null && seq <= (this.#marks.get(nameKey(session)) ?? 0)) {
      const on = kind === 'set' && metric.members.has(nameKey(actor!)) ? ON : 0;
      const won = [...metric.winners.values()].some((winner) => isSame(winner, operation));
      return DUPLICATE | on | (won ? REACHED : 0);
    }
    if (session !== null) this.#marks.set(nameKey(session), seq);
    const before = computeTotal(metric);
    const on = kind === 'set' && value === 1 ? ON : 0;
    if (!this.#count(metric, operation)) return on;
    changed.add(post);
    const winner = { actor, session, seq, kind, value, v: this.#nextVersion(post), ...times, missed: false };
    return APPLIED | on | (cross(metric, before, winner) ? REACHED : 0);
  }

  /** @returns whether anything changed */
  #count(metric: MetricLedger, { post, metric: index, kind, value, actor }: Operation): boolean {
    if (kind !== 'set') {
      if (metric.counted + value < 0) return false;
      metric.counted += value;
      return true;
    }
    const name = nameKey(actor!);
    if (value === 0) return metric.members.delete(name);
    const putOff = this.otherOptions[index]!.filter((other) => this.#metric(post, other).members.delete(name));
    const isNew = !metric.members.has(name);
    metric.members.add(name);
    return isNew || putOff.length > 0;
  }

  #import(metric: MetricLedger, { post, total, atMs }: Extract<Change, { kind: 'import' }>): void {
    if (total <= metric.imported) return;
    const before = computeTotal(metric);
    metric.imported = total;
    const v = this.#nextVersion(post);
    this.#versions.set(post, v);
    cross(metric, before, { ...NOBODY, v, atMs: 0, recordedAtMs: atMs, missed: true });
  }

  #nextVersion(post: string): number {
    return (this.#versions.get(post) ?? 0) + 1;
  }

  #metric(post: string, index: number): MetricLedger {
    const name = `${index} ${post}`;
    let metric = this.#metrics.get(name);
    if (metric === undefined) {
      metric = { members: new Set(), counted: 0, imported: 0, armed: new Set(), winners: new Map() };
      this.#metrics.set(name, metric);
    }
    return metric;
  }
}

function cross(metric: MetricLedger, before: number, winner: Omit<Winner, 'n' | 'total'>): boolean {
  const total = computeTotal(metric);
  const crossed = [...metric.armed].filter((n) => before < n && n <= total);
  for (const n of crossed) {
    metric.armed.delete(n);
    metric.winners.set(n, { ...winner, n, total });
  }
  return crossed.length > 0;
}

function computeTotal({ members, counted, imported }: MetricLedger): number {
  return members.size + counted + imported;
}

function isSame(winner: Winner, { session, seq }: Operation): boolean {
  return winner.session !== null && nameKey(winner.session) === nameKey(session!) && winner.seq === seq;
}

/** The operation that a winner's record names. */
export function describe({
  session,
  seq,
  actor,
  kind,
  value,
}: Pick<Winner, 'session' | 'seq' | 'actor' | 'kind' | 'value'>): string {
  const by = session === null ? `actor ${actor?.lo ?? 'none'}` : `session ${session.lo} seq ${seq}`;
  return `${kind} ${value} of ${by}`;
}

function nameKey({ hi, lo }: Key64): string {
  return `${hi} ${lo}`;
}
