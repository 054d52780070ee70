import { SUM_MODULUS } from '../../counters/changed-posts.js';
import type { BucketSums } from '../audited-sink.js';
import type { Query } from './postgres-connection.js';
import type { PostgresTables } from './postgres-tables.js';
import { numbersLiteral } from './sql-text.js';

interface SumsRow {
  readonly [column: string]: string | number | boolean | null;
  readonly turn: number;
  readonly sums: string | null;
  readonly base: string | null;
  readonly dead: boolean;
  readonly rows: string | null;
}

/** Adds up rows for audits. */
export class AuditStatements {
  readonly #sums: string;
  readonly #keepBase: string;

  constructor(tables: PostgresTables) {
    const buckets = tables.name('tallycast_buckets');
    const sums = tables.metricColumns.map((metric) => `(coalesce(sum(c.${metric}), 0) % ${SUM_MODULUS})::bigint`);
    const hasDead = `EXISTS (SELECT FROM ${tables.name('tallycast_dead')} AS d WHERE d.bucket = b.bucket)`;
    // One statement sees one instant. Rows are added up only if there is something to compare them with.
    this.#sums = `
SELECT b.turn, b.sums::text AS sums, b.base::text AS base, ${hasDead} AS dead,
  CASE WHEN b.sums IS NOT NULL AND NOT ${hasDead} THEN (
    SELECT ARRAY[${sums.join(', ')}]::text FROM ${tables.name('tallycast_counts')} AS c WHERE c.bucket = b.bucket
  ) END AS rows
FROM ${buckets} AS b WHERE b.bucket = $1`;
    this.#keepBase = `UPDATE ${buckets} SET base = $2::bigint[] WHERE bucket = $1 AND turn = $3 AND base IS NULL`;
  }

  async readSums(query: Query, bucket: number): Promise<BucketSums> {
    const [row] = await query<SumsRow>(this.#sums, [bucket]);
    if (row === undefined) return { turn: 0, sums: null, base: null, rows: null, hasDeadRows: false };
    const { turn, sums, base, rows, dead } = row;
    return {
      turn,
      sums: parseNumbers(sums),
      base: parseNumbers(base),
      rows: parseNumbers(rows),
      hasDeadRows: dead,
    };
  }

  /** Does nothing if the bucket was written since the turn. */
  async keepBase(query: Query, bucket: number, turn: number, base: readonly number[]): Promise<void> {
    await query(this.#keepBase, [bucket, numbersLiteral(base), turn]);
  }
}

/** Parses an array as PostgreSQL prints it, such as `{1,2}`. */
function parseNumbers(text: string | null): number[] | null {
  return text === null ? null : text.slice(1, -1).split(',').map(Number);
}
