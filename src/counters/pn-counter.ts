/**
 * A PN-counter (Shapiro, Preguiça, Baquero, Zawirski: "A comprehensive study of Convergent and Commutative Replicated Data Types", INRIA
 * RR-7506, 2011). It has an entry a region, not a process: gateways write to their region's entry as idempotent producers, so the
 * vector does not grow with deployments.
 */

/** Counts stay integers that a JavaScript number and a JSON reader hold exactly. */
export const COUNT_MAX = Number.MAX_SAFE_INTEGER;

/**
 * An incarnation of a region's store. A store that may have lost its last commits starts another one, with a higher epoch and a new nonce.
 * Two stores that took the same epoch by mistake differ in the nonce.
 */
export interface RegionIncarnation {
  readonly region: string;
  readonly epoch: number;
  readonly nonce: number;
}

/**
 * Incarnations of other regions that a store keeps and a message may name. Each failover or restored backup of a region adds one: 60 for
 * each of 15 peers. Records refer to incarnations by their index in a list that is read as a whole.
 */
export const INCARNATIONS_MAX = 1_000;

/** Other regions that a store may know: 15 peers, and removed ones, whose counts stay. */
export const REGIONS_MAX = 32;

/** The name of a region without a REGION setting. Its data may get another name once. */
export const UNNAMED_REGION = 'local';

/** A region's entry of a counter: both numbers only grow within one (epoch, nonce). */
export interface CounterEntry {
  readonly incarnation: RegionIncarnation;
  readonly p: number;
  readonly n: number;
}

/** At most one entry a region, in no order. */
export type PnCounter = readonly CounterEntry[];

export const EMPTY_COUNTER: PnCounter = [];

export function sumEntries(counter: PnCounter): number {
  let sum = 0;
  for (const { p, n } of counter) sum += p - n;
  return sum;
}

/**
 * How many +1 the region may take away: as many as its own entry has. This is a bounded counter without transfer of rights (Balegas, Serra,
 * Duarte, Ferreira, Shapiro, Rodrigues, Preguiça: "Extending Eventually Consistent Cloud Databases for Enforcing Numeric Invariants", SRDS
 * 2015): in every entry P is at least N, whatever is merged in whatever order, and no sum is below 0.
 */
export function countRights(counter: PnCounter, region: string): number {
  const own = findEntry(counter, region);
  return own === undefined ? 0 : own.p - own.n;
}

/** How an incarnation of a region compares with another one. `clash`: both took the same epoch by mistake. */
export type IncarnationOrder = 'older' | 'same' | 'newer' | 'clash';

export type Incarnation = Pick<RegionIncarnation, 'epoch' | 'nonce'>;

export function compareIncarnations(incarnation: Incarnation, other: Incarnation): IncarnationOrder {
  if (incarnation.epoch !== other.epoch) return incarnation.epoch > other.epoch ? 'newer' : 'older';
  return incarnation.nonce === other.nonce ? 'same' : 'clash';
}

/** The region's entry, if it has one. */
export function findEntry(counter: PnCounter, region: string): CounterEntry | undefined {
  return counter.find(({ incarnation }) => incarnation.region === region);
}

/** Adds to the own region's entry. An entry of an earlier incarnation goes over to this one, because its counts stay valid. */
export function increment(counter: PnCounter, incarnation: RegionIncarnation, p: number, n: number): PnCounter {
  const index = counter.findIndex((entry) => entry.incarnation.region === incarnation.region);
  const own = counter[index];
  if (own === undefined) return [...counter, { incarnation, p, n }];
  return counter.with(index, { incarnation, p: own.p + p, n: own.n + n });
}

/**
 * Lexicographic: a higher epoch replaces, the same (epoch, nonce) takes the maximum of P and of N, anything else changes nothing (a clash
 * is rejected earlier). Commutative, associative and idempotent for incarnations that do not clash.
 * @returns the counter itself if nothing changed
 */
export function mergeEntry(
  counter: PnCounter,
  entry: CounterEntry,
  order: typeof compareIncarnations = compareIncarnations,
): PnCounter {
  const index = counter.findIndex(({ incarnation }) => incarnation.region === entry.incarnation.region);
  const present = counter[index];
  if (present === undefined) return [...counter, entry];
  switch (order(entry.incarnation, present.incarnation)) {
    case 'newer':
      return counter.with(index, entry);
    case 'same': {
      if (entry.p <= present.p && entry.n <= present.n) return counter;
      return counter.with(index, { ...present, p: Math.max(present.p, entry.p), n: Math.max(present.n, entry.n) });
    }
    default:
      return counter;
  }
}
