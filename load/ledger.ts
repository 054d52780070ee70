/** What an actor does: a toggle of its like, or a view. */
export interface LedgerEntry {
  readonly seq: number;
  readonly event: 'like' | 'unlike' | 'view';
  /** The post's number. */
  readonly post: number;
  /** Which like it is about, of all likes that the ledger knows. */
  readonly like: number;
  /** When the schedule wanted it, on this thread's clock. */
  readonly dueMs: number;
  /** In flight on the present connection. */
  isSent: boolean;
  /** Written to a connection at least once, so that it may have been counted. */
  wasSent: boolean;
}

/** By how much a count must have changed: one number, save where answers are missing. */
interface Range {
  min: number;
  max: number;
}

/** By the post's number. */
export interface Expected {
  readonly likes: readonly Range[];
  readonly views: readonly Range[];
}

/** Keeps the books: what must have been counted, by what was acknowledged. */
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

  /** A retry that was counted before counts all the same: this is its only acknowledgement. */
  acknowledge({ event, post, like }: LedgerEntry): void {
    if (event === 'view') {
      this.#views[post]! += 1;
      return;
    }
    const on = event === 'like' ? 1 : 0;
    this.#likes[post]! += on - this.#on[like]!;
    this.#on[like] = on;
  }

  /** `unanswered`: operations that may or may not have been counted. */
  computeExpected(unanswered: Iterable<LedgerEntry>): Expected {
    const exactly = (count: number): Range => ({ min: count, max: count });
    const likes = Array.from(this.#likes, exactly);
    const views = Array.from(this.#views, exactly);
    const unsure = new Set<number>();
    for (const { event, post, like } of unanswered) {
      if (event === 'view') views[post]!.max += 1;
      else if ((event === 'like') !== (this.#on[like] === 1) && !unsure.has(like)) {
        unsure.add(like);
        if (event === 'like') likes[post]!.max += 1;
        else likes[post]!.min -= 1;
      }
    }
    return { likes, views };
  }
}

export function sumExpected(parts: readonly Expected[]): Expected {
  const sum = (ranges: readonly (readonly Range[])[]): Range[] =>
    ranges[0]!.map((_, post) => ({
      min: ranges.reduce((total, range) => total + range[post]!.min, 0),
      max: ranges.reduce((total, range) => total + range[post]!.max, 0),
    }));
  return { likes: sum(parts.map(({ likes }) => likes)), views: sum(parts.map(({ views }) => views)) };
}

export interface Totals {
  readonly likes: number;
  readonly views: number;
}

/** A count that is not what was acknowledged. */
export interface Mistake {
  readonly post: string;
  readonly metric: keyof Totals;
  readonly expected: Range;
  /** By how much it changed in truth. */
  readonly counted: number;
}

/** `before` and `after`: what the gateway said, by the post's number. */
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

/** How many of a count's operations are missing, or were counted too often. */
export function countLost({ counted, expected }: Mistake): number {
  return Math.max(0, expected.min - counted);
}

export function countDoubled({ counted, expected }: Mistake): number {
  return Math.max(0, counted - expected.max);
}
