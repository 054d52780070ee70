import { DatabaseError } from 'pg';
import { fromInt64, toInt64 } from '../../counters/ids.js';
import type { Key64 } from '../../counters/ids.js';
import type { Metrics } from '../../counters/metrics.js';
import type { PostMilestone, ReachedMilestone } from '../../counters/milestones.js';
import { type BucketWrite, SinkError } from '../sink.js';
import type { Query } from './postgres-connection.js';
import { isRejection } from './postgres-errors.js';
import type { PostgresTables } from './postgres-tables.js';
import { numbersLiteral, plainTextsLiteral, toLine } from './sql-text.js';

const UNDEFINED_TABLE = '42P01';

/** A row of tallycast_milestones. */
export interface SinkMilestone extends Omit<ReachedMilestone, 'recordedAtMs'> {
  readonly post: string;
  /** The name of the metric. */
  readonly metric: string;
}

interface StoredRow {
  readonly [column: string]: string | number | boolean | null;
  readonly post: string;
  readonly metric: string;
  readonly n: number;
  readonly v: number;
  readonly region: string;
  readonly epoch: number;
  readonly actor_text: string | null;
  readonly session_text: string | null;
  readonly seq: number;
  readonly kind: ReachedMilestone['kind'];
  readonly value: number;
  readonly total: number;
  readonly reached_ms: number;
  readonly missed: boolean;
}

/** Writes and reads tallycast_milestones: a row for each milestone that was reached, which never changes. */
export class MilestoneTable {
  readonly #insert: string;
  readonly #select: string;

  /** @param transact runs a transaction. @throws SinkError */
  constructor(
    tables: PostgresTables,
    private readonly metrics: Metrics,
    private readonly transact: <T>(work: (query: Query) => Promise<T>) => Promise<T>,
  ) {
    const name = tables.name('tallycast_milestones');
    this.#insert = `
INSERT INTO ${name} (post, metric, n, v, region, epoch, actor, session, seq, kind, value, total, reached_at, missed)
SELECT post, metric, n, v, region, epoch, actor, session, seq, kind, value, total, to_timestamp(reached_at / 1000), missed
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
  $10::text[], $11::bigint[], $12::bigint[], $13::float8[], $14::boolean[])
  AS t(post, metric, n, v, region, epoch, actor, session, seq, kind, value, total, reached_at, missed)
ON CONFLICT (post, metric, n) DO NOTHING`;
    this.#select = `
SELECT post, metric, n, v, region, epoch, actor::text AS actor_text, session::text AS session_text, seq, kind, value, total,
  (extract(epoch FROM reached_at) * 1000)::bigint AS reached_ms, missed
FROM ${name} WHERE (post, metric, n) > ($1, $2, $3) ORDER BY post, metric, n LIMIT $4`;
  }

  /** The first row of a milestone stays. @throws SinkError if the database rejects a row */
  async write(query: Query, writes: readonly BucketWrite[]): Promise<void> {
    const milestones = writes.flatMap((write) => write.milestones);
    if (milestones.length === 0) return;
    try {
      await query(this.#insert, this.#encode(milestones));
    } catch (error) {
      if (!isRejection(error)) throw error;
      // Nobody could tell later which milestones are missing.
      const advice =
        'nothing is written until the constraint or trigger that was added to tallycast_milestones is dropped';
      throw new SinkError(`tallycast_milestones: ${toLine(error.message)}: ${advice}`, true, { cause: error });
    }
  }

  /** Rows in the order of their keys; none if there is no such table yet. @param after `null`: from the first one */
  async readAll(after: SinkMilestone | null, limit: number): Promise<SinkMilestone[]> {
    const { post, metric, n } = after ?? { post: '', metric: '', n: 0 };
    const values = [post, metric, n, limit];
    const rows = await this.transact((query) => query<StoredRow>(this.#select, values)).catch(ignoreUndefinedTable);
    return rows.map(({ actor_text: actor, session_text: session, reached_ms: atMs, ...row }) => ({
      ...row,
      actor: toKey(actor),
      session: toKey(session),
      atMs,
    }));
  }

  #encode(milestones: readonly PostMilestone[]): (string | string[])[] {
    const numbers = (read: (one: PostMilestone) => number | bigint | null): string =>
      numbersLiteral(milestones.map(read));
    const texts = (read: (one: PostMilestone) => string): string => plainTextsLiteral(milestones.map(read));
    return [
      texts(({ post }) => post),
      texts(({ metric }) => this.metrics.list[metric]!.name),
      numbers(({ n }) => n),
      numbers(({ v }) => v),
      texts(({ region }) => region),
      numbers(({ epoch }) => epoch),
      numbers(({ actor }) => actor && toInt64(actor)),
      numbers(({ session }) => session && toInt64(session)),
      numbers(({ seq }) => seq),
      texts(({ kind }) => kind),
      numbers(({ value }) => value),
      numbers(({ total }) => total),
      numbers(({ atMs }) => atMs),
      milestones.map(({ missed }) => String(missed)),
    ];
  }
}

function toKey(text: string | null): Key64 | null {
  return text === null ? null : fromInt64(BigInt(text));
}

/** A read from before the first milestone. */
function ignoreUndefinedTable(error: unknown): [] {
  const cause = error instanceof SinkError ? error.cause : error;
  if (cause instanceof DatabaseError && cause.code === UNDEFINED_TABLE) return [];
  throw error;
}
