import { toInt64 } from '../../counters/ids.js';
import type { Member } from '../../counters/changed-posts.js';
import type { Metrics } from '../../counters/metrics.js';
import { type BucketWrite, SinkError } from '../sink.js';
import type { Query } from './postgres-connection.js';
import { isRejection } from './postgres-errors.js';
import type { PostgresTables } from './postgres-tables.js';
import { numbersLiteral, plainTextsLiteral, toLine } from './sql-text.js';

/** Rows that one statement reads, and may delete: a million may reach the limit of its time. */
const PRUNED_ROWS_MAX = 50_000;
/** The key of a row before all members of a post. */
const BEFORE_FIRST = { metric: '', actor: '0' };

type MemberState = BucketWrite['members'][number];

/** A member that a transaction writes. */
export interface MemberWrite extends MemberState {
  /** That of its bucket in the transaction. */
  readonly turn: number;
}

interface MemberKey {
  readonly [column: string]: string;
  readonly post: string;
  readonly metric: string;
  readonly actor: string;
}

/** A post all of whose members were written within these turns of its bucket. */
export interface SyncedMembers {
  readonly post: string;
  readonly fromTurn: number;
  readonly toTurn: number;
}

/**
 * Writes tallycast_members: a row for each member, with the turn of its last write. Writers of a bucket wait for each other
 * at its row in tallycast_buckets, before they lock any member.
 */
export class MemberStatements {
  readonly #upsert: string;
  readonly #delete: string;
  readonly #prune: string;

  constructor(
    tables: PostgresTables,
    private readonly metrics: Metrics,
  ) {
    const name = tables.name('tallycast_members');
    this.#upsert = `
INSERT INTO ${name} AS m (post, metric, actor, turn)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
ON CONFLICT (post, metric, actor) DO UPDATE SET turn = excluded.turn WHERE m.turn <> excluded.turn`;
    this.#delete = `
DELETE FROM ${name} AS m USING unnest($1::text[], $2::text[], $3::bigint[]) AS t(post, metric, actor)
WHERE m.post = t.post AND m.metric = t.metric AND m.actor = t.actor`;
    this.#prune = `
WITH page AS (
  SELECT t.*, m.metric, m.actor, m.turn, row_number() OVER (PARTITION BY t.post ORDER BY m.metric, m.actor) AS number
  FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[])
    AS t(post, from_turn, to_turn, after_metric, after_actor)
  CROSS JOIN LATERAL (
    SELECT metric, actor, turn FROM ${name} AS m
    WHERE m.post = t.post AND (m.metric, m.actor) > (t.after_metric COLLATE "C", t.after_actor)
    ORDER BY m.metric, m.actor LIMIT $6
  ) AS m
), pruned AS (
  DELETE FROM ${name} AS m USING page AS p
  WHERE m.post = p.post AND m.metric = p.metric AND m.actor = p.actor AND p.turn NOT BETWEEN p.from_turn AND p.to_turn
)
SELECT post, metric, actor::text AS actor FROM page WHERE number = $6`;
  }

  /** Each member at most once. @throws SinkError if the database rejects a row */
  async write(query: Query, members: readonly MemberWrite[]): Promise<void> {
    const sorted = members.toSorted(compareMembers);
    const on = sorted.filter((member) => member.on);
    const off = sorted.filter((member) => !member.on);
    try {
      if (off.length > 0) await query(this.#delete, memberKeys(off, this.metrics));
      if (on.length > 0)
        await query(this.#upsert, [...memberKeys(on, this.metrics), numbersLiteral(on.map(({ turn }) => turn))]);
    } catch (error) {
      if (!isRejection(error)) throw error;
      // Nobody could tell later which members are missing.
      const advice =
        'nothing is written until the constraint or trigger that was added to tallycast_members is dropped';
      throw new SinkError(`tallycast_members: ${toLine(error.message)}: ${advice}`, true, { cause: error });
    }
  }

  /** Deletes the members of these posts that were not written within the turns: the store does not have them any more. */
  async prune(query: Query, posts: readonly SyncedMembers[]): Promise<void> {
    const turnsOf = new Map(posts.map((synced) => [synced.post, synced]));
    // A post may be named twice, by its page and because it changed.
    let left: readonly MemberKey[] = [...turnsOf.keys()].map((post) => ({ post, ...BEFORE_FIRST }));
    while (left.length > 0) {
      const rowsOfPost = Math.ceil(PRUNED_ROWS_MAX / left.length);
      left = await query<MemberKey>(this.#prune, [
        plainTextsLiteral(left.map(({ post }) => post)),
        numbersLiteral(left.map(({ post }) => turnsOf.get(post)!.fromTurn)),
        numbersLiteral(left.map(({ post }) => turnsOf.get(post)!.toTurn)),
        plainTextsLiteral(left.map(({ metric }) => metric)),
        left.map(({ actor }) => actor),
        rowsOfPost,
      ]);
    }
  }
}

/** Three array literals. */
export function memberKeys(members: readonly Member[], metrics: Metrics): string[] {
  return [
    plainTextsLiteral(members.map(({ post }) => post)),
    plainTextsLiteral(members.map(({ metric }) => metrics.list[metric]!.name)),
    numbersLiteral(members.map(({ actor }) => toInt64(actor))),
  ];
}

/** By post, so that rows of one page of the index are written together. */
function compareMembers(one: MemberState, other: MemberState): number {
  if (one.post !== other.post) return one.post < other.post ? -1 : 1;
  return one.metric - other.metric || (one.actor.hi | 0) - (other.actor.hi | 0) || one.actor.lo - other.actor.lo;
}
