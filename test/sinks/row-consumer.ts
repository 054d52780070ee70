import type { Metrics } from '../../src/counters/metrics.js';

/** A row as receivers get it. */
export type Row = Readonly<Record<string, number | string | null>>;

/** Counts of a post without what only some consumers need. */
export interface Counts {
  readonly v: number;
  readonly totals: readonly number[];
}

/** A program that follows the rule of docs/sinks.md: `e` the same, then only a higher `v` is news; another `e` replaces. */
export class RowConsumer {
  readonly #rows = new Map<string, Row>();
  #received = 0;

  constructor(private readonly metrics: Metrics) {}

  /** Rows so far, with those that were no news. */
  get received(): number {
    return this.#received;
  }

  take(row: Row): void {
    this.#received += 1;
    const post = String(row['post']);
    const known = this.#rows.get(post);
    if (known?.['e'] === row['e'] && Number(row['v']) <= Number(known?.['v'])) return;
    this.#rows.set(post, row);
  }

  get counts(): ReadonlyMap<string, Counts> {
    const toCounts = (row: Row): Counts => ({
      v: Number(row['v']),
      totals: this.metrics.list.map(({ name }) => Number(row[name])),
    });
    return new Map([...this.#rows].map(([post, row]) => [post, toCounts(row)]));
  }
}
