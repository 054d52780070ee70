import { SinkError } from '../sink.js';
import type { CountRow, CountStatements } from './count-statements.js';
import type { Query } from './postgres-connection.js';
import { isRejection } from './postgres-errors.js';
import type { PostgresTables } from './postgres-tables.js';
import { numbersLiteral, toLine } from './sql-text.js';

/** If one write makes more posts dead, it is not the fault of their rows. */
const REJECTED_MAX = 100;
/** Rejected rows that are kept at most. */
const DEAD_MAX = 10_000;
/** Messages of triggers may be long. */
const REASON_LENGTH_MAX = 500;

export interface RejectedRow {
  readonly row: CountRow;
  readonly sqlstate: string;
  readonly reason: string;
}

/** Reads and writes tallycast_dead: the posts whose newest row the database rejected. */
export class DeadRows {
  readonly #select: string;
  readonly #selectNamed: string;
  readonly #insert: string;
  readonly #delete: string;
  readonly #deleteLost: string;
  readonly #selectBuckets: string;
  readonly #count: string;
  #rejections = 0;

  constructor(
    tables: PostgresTables,
    private readonly counts: CountStatements,
  ) {
    const name = tables.name('tallycast_dead');
    this.#select = `SELECT post FROM ${name}`;
    this.#selectNamed = `${this.#select} WHERE post = ANY ($1::text[])`;
    this.#insert = `
INSERT INTO ${name} AS d (post, bucket, epoch, v, sqlstate, reason, tries)
SELECT t.*, 1 FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::text[], $6::text[]) AS t
ON CONFLICT (post) DO UPDATE SET epoch = excluded.epoch, v = excluded.v, sqlstate = excluded.sqlstate,
  reason = excluded.reason, tries = d.tries + 1, at = now()`;
    this.#delete = `DELETE FROM ${name} WHERE post = ANY ($1::text[])`;
    this.#deleteLost = `
DELETE FROM ${name} AS d USING unnest($1::int[], $2::bigint[]) AS t(bucket, epoch)
WHERE d.bucket = t.bucket AND d.epoch < t.epoch RETURNING d.post`;
    this.#selectBuckets = `SELECT bucket FROM ${name}`;
    this.#count = `SELECT count(*) AS count FROM ${name}`;
  }

  /** How often a row was rejected. */
  get rejections(): number {
    return this.#rejections;
  }

  async readPosts(query: Query): Promise<Set<string>> {
    const rows = await query<{ readonly post: string }>(this.#select);
    return new Set(rows.map(({ post }) => post));
  }

  /** Those of these posts that are dead. */
  async readNamed(query: Query, posts: readonly string[]): Promise<Set<string>> {
    const rows = await query<{ readonly post: string }>(this.#selectNamed, [posts]);
    return new Set(rows.map(({ post }) => post));
  }

  /** At the end of full syncs: forgets posts of earlier epochs, which the store has lost. @returns them */
  async forgetLost(query: Query, synced: readonly Pick<CountRow, 'bucket' | 'epoch'>[]): Promise<string[]> {
    const buckets = numbersLiteral(synced.map(({ bucket }) => bucket));
    const epochs = numbersLiteral(synced.map(({ epoch }) => epoch));
    const rows = await query<{ readonly post: string }>(this.#deleteLost, [buckets, epochs]);
    return rows.map(({ post }) => post);
  }

  /** @returns their buckets, one a post */
  async readBuckets(query: Query): Promise<number[]> {
    const rows = await query<{ readonly bucket: number }>(this.#selectBuckets);
    return rows.map(({ bucket }) => bucket);
  }

  /**
   * Writes all rows that the database accepts, and notes the others as dead.
   * @param dead posts that are dead now: they are tried first and alone, so that the others are not written several times
   * @throws SinkError if too many rows are rejected
   */
  async writeAccepted(query: Query, rows: readonly CountRow[], dead: ReadonlySet<string>): Promise<RejectedRow[]> {
    const sorted = rows.toSorted((a, b) => (a.post < b.post ? -1 : 1));
    const suspects = sorted.filter(({ post }) => dead.has(post));
    const others = suspects.length === 0 ? sorted : sorted.filter(({ post }) => !dead.has(post));
    const stillDead: RejectedRow[] = [];
    await this.#isolate(query, suspects, stillDead, Infinity);
    if (stillDead.length < suspects.length) await this.#remove(query, suspects, stillDead);
    const newlyDead: RejectedRow[] = [];
    await this.#isolate(query, others, newlyDead, REJECTED_MAX);
    const rejected = [...stillDead, ...newlyDead];
    if (rejected.length > 0) await this.#add(query, rejected);
    return rejected;
  }

  /** Halves the rows until those that are rejected stand alone. */
  async #isolate(query: Query, rows: readonly CountRow[], rejected: RejectedRow[], max: number): Promise<void> {
    if (rows.length === 0) return;
    await query('SAVEPOINT rows');
    try {
      await this.counts.write(query, rows);
      await query('RELEASE SAVEPOINT rows');
      return;
    } catch (error) {
      if (!isRejection(error)) throw error;
      await query('ROLLBACK TO SAVEPOINT rows; RELEASE SAVEPOINT rows');
      if (rows.length === 1) {
        const reason = toLine(error.message).slice(0, REASON_LENGTH_MAX);
        this.#rejections += 1;
        rejected.push({ row: rows[0]!, sqlstate: error.code, reason });
        if (rejected.length > max) throw tooMany(`over ${max} rows of one write were rejected`, reason);
        return;
      }
    }
    const half = rows.length >> 1;
    await this.#isolate(query, rows.slice(0, half), rejected, max);
    await this.#isolate(query, rows.slice(half), rejected, max);
  }

  async #remove(query: Query, suspects: readonly CountRow[], stillDead: readonly RejectedRow[]): Promise<void> {
    const rejected = new Set(stillDead.map(({ row }) => row.post));
    await query(this.#delete, [suspects.map(({ post }) => post).filter((post) => !rejected.has(post))]);
  }

  async #add(query: Query, rejected: readonly RejectedRow[]): Promise<void> {
    const numbers = (read: (row: CountRow) => number): string[] => rejected.map(({ row }) => String(read(row)));
    await query(this.#insert, [
      rejected.map(({ row }) => row.post),
      numbers(({ bucket }) => bucket),
      numbers(({ epoch }) => epoch),
      numbers(({ v }) => v),
      rejected.map(({ sqlstate }) => sqlstate),
      rejected.map(({ reason }) => reason),
    ]);
    const [row] = await query<{ readonly count: number }>(this.#count);
    if (row!.count > DEAD_MAX) throw tooMany(`over ${DEAD_MAX} posts have rejected rows`, rejected[0]!.reason);
  }
}

function tooMany(event: string, reason: string): SinkError {
  return new SinkError(`${event}, such as: ${reason}: change the constraint or the trigger that rejects them`, true);
}
