import type { PostCounts } from '../../counters/batch.js';
import type { BucketWrite } from '../sink.js';
import type { Query } from './postgres-connection.js';
import type { PostgresTables } from './postgres-tables.js';
import { numbersLiteral, plainTextsLiteral } from './sql-text.js';

/** A row of tallycast_counts. */
export interface CountRow extends Pick<PostCounts, 'post' | 'v' | 'updatedAtMs' | 'totals'> {
  readonly bucket: number;
  /** With the generation of the tables. */
  readonly epoch: number;
}

/** A row, for audits and for restoring a store. */
export interface StoredCounts extends Omit<CountRow, 'bucket'> {
  /** How often the tables had been adopted when it was written. Its epoch is that of the store then. */
  readonly generation: number;
}

interface StoredRow {
  readonly [column: string]: string | number | null;
  readonly post: string;
  readonly bucket: number;
  readonly epoch: number;
  readonly v: number;
  readonly updated_ms: number | null;
}

/** Reads and writes tallycast_counts. */
export class CountStatements {
  readonly #upsert: string;
  readonly #select: string;
  readonly #selectLost: string;
  readonly #metrics: readonly string[];

  constructor(tables: PostgresTables) {
    const name = tables.name('tallycast_counts');
    const metrics = tables.metricColumns;
    this.#metrics = metrics;
    this.#upsert = buildUpsert(name, metrics);
    this.#select = `
SELECT post, bucket, epoch, v, (extract(epoch FROM updated_at) * 1000)::bigint AS updated_ms,
  ${metrics.map((metric, index) => `${metric} AS total_${index}`).join(', ')}
FROM ${name}`;
    this.#selectLost = `
SELECT post FROM ${name} AS c WHERE bucket = $1 AND post > $2 AND epoch < $3
  AND NOT EXISTS (SELECT FROM ${tables.name('tallycast_dead')} AS d WHERE d.post = c.post AND d.epoch >= $3)
ORDER BY post LIMIT $4`;
  }

  /** Older rows than the present ones change nothing, and neither do equal ones. Each post at most once. */
  async write(query: Query, rows: readonly CountRow[]): Promise<void> {
    const totals = this.#metrics.map((_, index) => numbersLiteral(rows.map((row) => row.totals[index] ?? 0)));
    await query(this.#upsert, [
      plainTextsLiteral(rows.map(({ post }) => post)),
      numbersLiteral(rows.map(({ bucket }) => bucket)),
      numbersLiteral(rows.map(({ epoch }) => epoch)),
      numbersLiteral(rows.map(({ v }) => v)),
      numbersLiteral(rows.map(({ updatedAtMs }) => updatedAtMs)),
      ...totals,
    ]);
  }

  /** The rows after a post, in the order of their posts. */
  async read(query: Query, after: string, limit: number): Promise<CountRow[]> {
    const which = 'WHERE post > $1 ORDER BY post LIMIT $2';
    return this.#toRows(await query<StoredRow>(`${this.#select} ${which}`, [after, limit]));
  }

  /** The rows of these posts, in any order. */
  async readNamed(query: Query, posts: readonly string[]): Promise<CountRow[]> {
    return this.#toRows(await query<StoredRow>(`${this.#select} WHERE post = ANY ($1::text[])`, [posts]));
  }

  #toRows(rows: readonly StoredRow[]): CountRow[] {
    return rows.map((row) => ({
      ...{ post: row.post, bucket: row.bucket, epoch: row.epoch, v: row.v, updatedAtMs: row.updated_ms },
      totals: this.#metrics.map((_, index) => Number(row[`total_${index}`])),
    }));
  }

  /** The bucket's posts after a post that have no row of this epoch, not even a rejected one. */
  async readLost(query: Query, bucket: number, after: string, epoch: number, limit: number): Promise<string[]> {
    const rows = await query<{ readonly post: string }>(this.#selectLost, [bucket, after, epoch, limit]);
    return rows.map(({ post }) => post);
  }
}

/** By post, each once: a page of all posts may have a post twice. */
export function newestRows(writes: readonly BucketWrite[]): Map<string, CountRow> {
  const rows = new Map<string, CountRow>();
  for (const { bucket, epoch, posts } of writes) {
    for (const { post, v, updatedAtMs, totals } of posts) {
      if ((rows.get(post)?.v ?? 0) <= v) rows.set(post, { post, v, updatedAtMs, totals, bucket, epoch });
    }
  }
  return rows;
}

/**
 * `unnest` takes any number of rows with one plan. The order is that of all writes, so that no two wait for each other: an upsert
 * locks a row even if it leaves it as it is.
 */
function buildUpsert(name: string, metrics: readonly string[]): string {
  const columns = ['post', 'bucket', 'epoch', 'v', 'updated_at', ...metrics];
  const changing = ['epoch', 'v', 'updated_at', ...metrics];
  const compared = ['epoch', 'v', ...metrics];
  const from = (row: string, names: readonly string[]): string => names.map((one) => `${row}.${one}`).join(', ');
  const arrays = metrics.map((_, index) => `$${index + 6}::bigint[]`);
  return `
INSERT INTO ${name} AS c (${columns.join(', ')})
SELECT t.post, t.bucket, t.epoch, t.v, to_timestamp(t.updated_at / 1000), ${from('t', metrics)}
FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::float8[], ${arrays.join(', ')}) AS t(${columns.join(', ')})
ORDER BY t.post COLLATE "C"
ON CONFLICT (post) DO UPDATE SET ${changing.map((column) => `${column} = excluded.${column}`).join(', ')}
WHERE (c.epoch, c.v) <= (excluded.epoch, excluded.v)
  AND (${from('c', compared)}) IS DISTINCT FROM (${from('excluded', compared)})`;
}
