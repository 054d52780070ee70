/** An operation of an actor: a toggle of its like, or a view. */
export interface LedgerEntry {
  readonly seq: number;
  readonly event: 'like' | 'unlike' | 'view';
  /** Number of the post. */
  readonly post: number;
  /** Index of the like in the ledger. */
  readonly like: number;
  /** When the operation was due, on this thread's clock. */
  readonly dueMs: number;
  /** In flight on the current connection. */
  isSent: boolean;
  /** Written to a connection at least once, so that it may have been counted. */
  wasSent: boolean;
}

/** The change that a count must have had: one number unless acknowledgements are missing. */
interface Range {
  min: number;
  max: number;
}

/** Indexed by the number of the post. */
export interface Expected {
  readonly likes: readonly Range[];
  readonly views: readonly Range[];
}

/** Computes from acknowledgements what the gateway must have counted. */
export class Ledger {
  /** 1 where the last acknowledged operation switched the like on. */
  readonly #on: Uint8Array;
  readonly #likes: Float64Array;
  readonly #views: Float64Array;

  constructor(posts: number, likes: number) {
    this.#on = new Uint8Array(likes);
    this.#likes = new Float64Array(posts);
    this.#views = new Float64Array(posts);
  }

  /** Duplicates count as well, because each operation is acknowledged once only. */
  acknowledge({ event, post, like }: LedgerEntry): void {
    if (event === 'view') {
      this.#views[post]! += 1;
      return;
    }
    const on = event === 'like' ? 1 : 0;
    this.#likes[post]! += on - this.#on[like]!;
    this.#on[like] = on;
  }

  /** @param unanswered operations that may or may not have been counted */
  computeExpected(unanswered: Iterable<LedgerEntry>): Expected {
    const exactly = (count: number): Range => ({ min: count, max: count });
    const likes = Array.from(this.#likes, exactly);
    const views = Array.from(this.#views, exactly);
    const uncertainLikes = new Set<number>();
    for (const { event, post, like } of unanswered) {
      if (event === 'view') views[post]!.max += 1;
      else if ((event === 'like') !== (this.#on[like] === 1) && !uncertainLikes.has(like)) {
        uncertainLikes.add(like);
        if (event === 'like') likes[post]!.max += 1;
        else likes[post]!.min -= 1;
      }
    }
    return { likes, views };
  }
}

export function sumExpected(list: readonly Expected[]): Expected {
  const sum = (ranges: readonly (readonly Range[])[]): Range[] =>
    ranges[0]!.map((_, post) => ({
      min: ranges.reduce((total, range) => total + range[post]!.min, 0),
      max: ranges.reduce((total, range) => total + range[post]!.max, 0),
    }));
  return { likes: sum(list.map(({ likes }) => likes)), views: sum(list.map(({ views }) => views)) };
}

export interface Totals {
  readonly likes: number;
  readonly views: number;
}

/** A count that differs from the acknowledged operations. */
export interface Mistake {
  readonly post: string;
  readonly metric: keyof Totals;
  readonly expected: Range;
  /** The actual change of the count. */
  readonly counted: number;
}

/** @param before @param after the gateway's totals, indexed by the number of the post */
export function findMistakes(
  ids: readonly string[],
  expected: Expected,
  before: readonly Totals[],
  after: readonly Totals[],
): Mistake[] {
  return ids.flatMap((post, i) =>
    (['likes', 'views'] as const).flatMap((metric) => {
      const range = expected[metric][i]!;
      const counted = after[i]![metric] - before[i]![metric];
      return counted < range.min || counted > range.max ? [{ post, metric, expected: range, counted }] : [];
    }),
  );
}

/** Number of operations that are missing from a count. */
export function countLost({ counted, expected }: Mistake): number {
  return Math.max(0, expected.min - counted);
}

/** Number of operations that were counted more than once. */
export function countDoubled({ counted, expected }: Mistake): number {
  return Math.max(0, counted - expected.max);
}
