/**
 * A PN-counter (Shapiro, Preguiça, Baquero, Zawirski: "A comprehensive study of Convergent and Commutative Replicated
 * Data Types", INRIA RR-7506, 2011). Its replicas are regions, not processes: gateways are fenced writers to
 * their region's entry, so the vector does not grow with deployments.
 */

/** Counts stay integers that a JavaScript number and a JSON reader hold exactly. */
export const COUNT_MAX = Number.MAX_SAFE_INTEGER;

/**
 * One life of a region's store. A store that may have lost its last commits takes a higher epoch and a new nonce;
 * two stores that by mistake took the same epoch differ in the nonce.
 */
export interface RegionIncarnation {
  readonly region: string;
  readonly epoch: number;
  readonly nonce: number;
}

/**
 * Lives of other regions that a store keeps and a message may name. Each failover or restored backup of a region adds one: 60 for
 * each of 15 peers. Records refer to lives by their place in a list that is read as a whole.
 */
export const INCARNATIONS_MAX = 1_000;

/** Other regions that were ever heard of: 15 peers, and those that were removed, whose counts stay. */
export const REGIONS_MAX = 32;

/** The name of a region that is the only one; its data may be given another one once. */
export const UNNAMED_REGION = 'local';

/** A region's share of a counter: both numbers only grow within one (epoch, nonce). */
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
 * How many +1 the region may take away: those that its own entry has, a bounded counter without transfer of rights (Balegas,
 * Serra, Duarte, Ferreira, Shapiro, Rodrigues, Preguiça: "Extending Eventually Consistent Cloud Databases for Enforcing Numeric
 * Invariants", SRDS 2015). So P is at least N in every entry, whatever is merged in whatever order, and no sum is below 0.
 */
export function countRights(counter: PnCounter, region: string): number {
  const own = findEntry(counter, region);
  return own === undefined ? 0 : own.p - own.n;
}

/** One life of a region beside another: which came later? `clash`: two that took the same epoch by mistake. */
export type IncarnationOrder = 'older' | 'same' | 'newer' | 'clash';

export type Incarnation = Pick<RegionIncarnation, 'epoch' | 'nonce'>;

export function compareIncarnations(incarnation: Incarnation, other: Incarnation): IncarnationOrder {
  if (incarnation.epoch !== other.epoch) return incarnation.epoch > other.epoch ? 'newer' : 'older';
  return incarnation.nonce === other.nonce ? 'same' : 'clash';
}

/** The region's share, if it has one. */
export function findEntry(counter: PnCounter, region: string): CounterEntry | undefined {
  return counter.find(({ incarnation: replica }) => replica.region === region);
}

/** Adds to the own region's entry. An entry of an earlier epoch is carried over: what it counted was counted. */
export function increment(counter: PnCounter, replica: RegionIncarnation, p: number, n: number): PnCounter {
  const at = counter.findIndex((entry) => entry.incarnation.region === replica.region);
  const own = counter[at];
  if (own === undefined) return [...counter, { incarnation: replica, p, n }];
  return counter.with(at, { incarnation: replica, p: own.p + p, n: own.n + n });
}

/**
 * Lexicographic: a higher epoch replaces, the same (epoch, nonce) takes the maximum of P and of N, anything else changes
 * nothing (a clash is refused before it comes here). Commutative, associative and idempotent for lives that do not clash.
 * @returns the counter itself if nothing changed
 */
export function mergeEntry(
  counter: PnCounter,
  entry: CounterEntry,
  order: typeof compareIncarnations = compareIncarnations,
): PnCounter {
  const at = counter.findIndex(({ incarnation: replica }) => replica.region === entry.incarnation.region);
  const known = counter[at];
  if (known === undefined) return [...counter, entry];
  switch (order(entry.incarnation, known.incarnation)) {
    case 'newer':
      return counter.with(at, entry);
    case 'same': {
      if (entry.p <= known.p && entry.n <= known.n) return counter;
      return counter.with(at, { ...known, p: Math.max(known.p, entry.p), n: Math.max(known.n, entry.n) });
    }
    default:
      return counter;
  }
}
