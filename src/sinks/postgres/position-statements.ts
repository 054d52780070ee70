import type { CopyPosition } from '../../counters/changed-posts.js';
import type { BucketWrite, SinkPosition } from '../sink.js';
import type { Query } from './postgres-connection.js';
import type { PostgresTables } from './postgres-tables.js';
import { numbersLiteral } from './sql-text.js';

/** Epochs of the store are 32 bits; above them is the generation of the tables. */
const GENERATION = 2 ** 32;

/** By bucket. */
export interface StoredTurns {
  /** How far the tables are; none of a bucket of which nothing is known, or whose tables were adopted since. */
  readonly positions: Map<number, SinkPosition>;
  /**
   * Each transaction of a bucket raises its turn by one and needs the turn that its gateway read, so that the transactions are a chain:
   * none of a gateway that another one has overtaken can be committed.
   */
  readonly turns: Map<number, number>;
}

/** The next transaction of a bucket. */
export interface NextTurn {
  readonly bucket: number;
  readonly turn: number;
  readonly position: CopyPosition;
  readonly endsFullSync: boolean;
  readonly sums: readonly number[] | null;
}

export function nextTurn(
  turns: ReadonlyMap<number, number>,
  { bucket, position, sums, endsFullSync }: BucketWrite,
): NextTurn {
  return { bucket, turn: (turns.get(bucket) ?? 0) + 1, position, sums, endsFullSync };
}

/** The epoch as the tables have it: what is written after an adoption is newer than all rows before. */
export function addGeneration(generation: number, epoch: number): number {
  return generation * GENERATION + epoch;
}

export function splitEpoch(epoch: number): { readonly generation: number; readonly epoch: number } {
  const generation = Math.trunc(epoch / GENERATION);
  return { generation, epoch: epoch - generation * GENERATION };
}

interface PositionRow {
  readonly [column: string]: number | boolean;
  readonly bucket: number;
  readonly turn: number;
  readonly epoch: number;
  readonly nonce: number;
  readonly up_to: number;
  readonly changed_ms: number;
  readonly has_sums: boolean;
}

/** Reads and writes tallycast_buckets. */
export class PositionStatements {
  readonly #select: string;
  readonly #advance: string;
  readonly #forgetBases: string;
  readonly #lock: string;
  readonly #forget: string;
  readonly #rewind: string;

  constructor(tables: PostgresTables) {
    const name = tables.name('tallycast_buckets');
    this.#lock = tables.lockBuckets();
    this.#forget = `
UPDATE ${name} SET turn = turn + 1, epoch = 0, nonce = 0, up_to = 0, changed_at = to_timestamp(0), sums = NULL, base = NULL`;
    this.#rewind = `UPDATE ${name} SET turn = turn + 1, up_to = 0, sums = NULL WHERE bucket = ANY ($1::int[])`;
    this.#select = `
SELECT bucket, turn, epoch, nonce, up_to, (extract(epoch FROM changed_at) * 1000)::bigint AS changed_ms,
  sums IS NOT NULL AS has_sums
FROM ${name}`;
    this.#advance = `
INSERT INTO ${name} AS b (bucket, turn, epoch, nonce, up_to, changed_at, sums)
SELECT t.bucket, t.turn, t.epoch, t.nonce, t.up_to, to_timestamp(t.changed_ms / 1000), t.sums::bigint[]
FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::float8[], $7::text[])
  AS t(bucket, turn, epoch, nonce, up_to, changed_ms, sums)
ORDER BY t.bucket
ON CONFLICT (bucket) DO UPDATE SET turn = excluded.turn, epoch = excluded.epoch, nonce = excluded.nonce,
  up_to = excluded.up_to, changed_at = excluded.changed_at, sums = excluded.sums, written_at = now()
WHERE b.turn = excluded.turn - 1
RETURNING b.bucket`;
    this.#forgetBases = `UPDATE ${name} SET base = NULL WHERE bucket = ANY ($1::int[]) AND base IS NOT NULL`;
  }

  async read(query: Query, generation: number): Promise<StoredTurns> {
    const rows = await query<PositionRow>(this.#select);
    const positions = new Map<number, SinkPosition>();
    for (const row of rows) {
      const position = toPosition(row, generation);
      if (position !== null) positions.set(row.bucket, position);
    }
    return { positions, turns: new Map(rows.map(({ bucket, turn }) => [bucket, turn])) };
  }

  /** @returns false: another gateway had one of these turns */
  async advance(query: Query, generation: number, turns: readonly NextTurn[]): Promise<boolean> {
    const numbers = (read: (turn: NextTurn) => number): string => numbersLiteral(turns.map(read));
    const changed = await query(this.#advance, [
      numbers(({ bucket }) => bucket),
      numbers(({ turn }) => turn),
      numbers(({ position }) => addGeneration(generation, position.epoch)),
      numbers(({ position }) => position.nonce),
      numbers(({ position }) => position.upTo),
      numbers(({ position }) => position.changedAtMs),
      sumsLiteral(turns),
    ]);
    // The store may have begun to record changes again, with sums of 0. That leads to a full sync.
    const synced = turns.filter(({ endsFullSync }) => endsFullSync).map(({ bucket }) => bucket);
    if (synced.length > 0) await query(this.#forgetBases, [numbersLiteral(synced)]);
    return changed.length === turns.length;
  }

  /** Keeps writes out until the transaction ends. */
  async lock(query: Query): Promise<void> {
    await query(this.#lock);
  }

  /** Forgets all positions: each bucket gets a full sync, whatever the store has. */
  async forgetAll(query: Query): Promise<void> {
    await query(this.#forget);
  }

  /**
   * Has all posts of some buckets sent again. The incarnation stays, so that an emptied store still halts the bucket, instead of
   * emptying the tables.
   */
  async rewind(query: Query, buckets: readonly number[]): Promise<void> {
    await query(this.#rewind, [numbersLiteral(buckets)]);
  }
}

/** Literals inside of a literal, because `unnest` would flatten an array of arrays. */
function sumsLiteral(turns: readonly NextTurn[]): string {
  return `{${turns.map(({ sums }) => (sums === null ? 'NULL' : `"${numbersLiteral(sums)}"`)).join(',')}}`;
}

function toPosition(row: PositionRow, wanted: number): SinkPosition | null {
  const { generation, epoch } = splitEpoch(row.epoch);
  if (epoch === 0 || generation !== wanted) return null;
  return { epoch, nonce: row.nonce, upTo: row.up_to, changedAtMs: row.changed_ms, isComplete: row.has_sums };
}
