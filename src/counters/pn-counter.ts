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
export interface Replica {
  readonly region: string;
  readonly epoch: number;
  readonly nonce: number;
}

/** A region's share of a counter: both numbers only grow within one (epoch, nonce). */
export interface Entry {
  readonly replica: Replica;
  readonly p: number;
  readonly n: number;
}

/** At most one entry a region, in no order. */
export type PnCounter = readonly Entry[];

export const EMPTY: PnCounter = [];

export function valueOf(counter: PnCounter): number {
  let sum = 0;
  for (const { p, n } of counter) sum += p - n;
  return sum;
}

function sameLife(a: Replica, b: Replica): boolean {
  return a.epoch === b.epoch && a.nonce === b.nonce;
}

/** Adds to the own region's entry. An entry of an earlier epoch is carried over: what it counted was counted. */
export function increment(counter: PnCounter, replica: Replica, p: number, n: number): PnCounter {
  const at = counter.findIndex((entry) => entry.replica.region === replica.region);
  const own = counter[at];
  if (own === undefined) return [...counter, { replica, p, n }];
  return counter.with(at, { replica, p: own.p + p, n: own.n + n });
}

export interface Merged {
  readonly counter: PnCounter;
  /** Entries that clash: same epoch, other nonce. Their source must bump its epoch and send them again. */
  readonly refused: PnCounter;
}

/**
 * Lexicographic: a higher epoch replaces, the same (epoch, nonce) takes the maximum of P and of N, a clash is refused.
 * Commutative, associative and idempotent for entries that do not clash.
 */
export function merge(mine: PnCounter, theirs: PnCounter): Merged {
  const merged = [...mine];
  const refused: Entry[] = [];
  for (const entry of theirs) {
    const at = merged.findIndex(({ replica }) => replica.region === entry.replica.region);
    const known = merged[at];
    if (known === undefined) merged.push(entry);
    else if (sameLife(known.replica, entry.replica)) {
      merged[at] = { replica: known.replica, p: Math.max(known.p, entry.p), n: Math.max(known.n, entry.n) };
    } else if (entry.replica.epoch > known.replica.epoch) merged[at] = entry;
    else if (entry.replica.epoch === known.replica.epoch) refused.push(entry);
  }
  return { counter: merged, refused };
}
