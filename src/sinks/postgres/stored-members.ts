import type { Member } from '../../counters/changed-posts.js';
import type { Metrics } from '../../counters/metrics.js';
import type { AuditedMembers, SinkMember } from '../audit-members.js';
import { memberKeys } from './member-statements.js';
import type { Query } from './postgres-connection.js';
import type { PostgresTables } from './postgres-tables.js';
import { plainTextsLiteral } from './sql-text.js';

interface MemberRow {
  readonly [column: string]: string;
  readonly post: string;
  readonly metric: string;
  /** Other columns of type bigint are numbers, which cannot hold it. */
  readonly actor_text: string;
}

/** Reads tallycast_members, for audits and for restoring a store. The table must exist. */
export class StoredMembers implements AuditedMembers {
  readonly #selectAfter: string;
  readonly #selectOf: string;
  readonly #selectMissing: string;
  readonly #count: string;
  readonly #selectPosts: string;
  readonly #lock: string;
  readonly #deleteUncounted: string;

  /** @param transact runs a transaction. @throws SinkError */
  constructor(
    tables: PostgresTables,
    private readonly metrics: Metrics,
    private readonly transact: <T>(work: (query: Query) => Promise<T>) => Promise<T>,
  ) {
    const name = tables.name('tallycast_members');
    const columns = 'post, metric, actor::text AS actor_text';
    // A row with zeros is that of a post that the store has lost. A rejected one has members.
    const isCounted = (post: string): string =>
      `(EXISTS (SELECT FROM ${tables.name('tallycast_counts')} AS c WHERE c.post = ${post} AND c.v > 0) ` +
      `OR EXISTS (SELECT FROM ${tables.name('tallycast_dead')} AS d WHERE d.post = ${post}))`;
    this.#lock = tables.lockBuckets();
    this.#selectAfter = `
SELECT ${columns} FROM ${name} WHERE (post, metric, actor) > ($1, $2, $3::bigint) ORDER BY post, metric, actor LIMIT $4`;
    this.#selectOf = `
SELECT ${columns} FROM ${name} WHERE post = $1 AND (metric, actor) > ($2, $3::bigint) ORDER BY metric, actor LIMIT $4`;
    this.#selectMissing = `
SELECT t.n FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS t(post, metric, actor, n)
WHERE NOT EXISTS (SELECT FROM ${name} AS m WHERE m.post = t.post AND m.metric = t.metric AND m.actor = t.actor)`;
    this.#count = `SELECT post, metric, count(*) AS count FROM ${name} WHERE post = ANY ($1::text[]) GROUP BY post, metric`;
    // Goes from post to post in the index, because reading all members would take long.
    this.#selectPosts = `
WITH RECURSIVE posts AS (
  (SELECT post FROM ${name} WHERE post > $1 ORDER BY post LIMIT 1)
  UNION ALL
  SELECT (SELECT m.post FROM ${name} AS m WHERE m.post > p.post ORDER BY m.post LIMIT 1) FROM posts AS p WHERE p.post IS NOT NULL
)
SELECT post, ${isCounted('page.post')} AS counted FROM (SELECT post FROM posts WHERE post IS NOT NULL LIMIT $2) AS page`;
    this.#deleteUncounted = `DELETE FROM ${name} AS m WHERE m.post = ANY ($1::text[]) AND NOT ${isCounted('m.post')}`;
  }

  /** Members in the order of their keys. @param after `null`: from the first one */
  async readAll(after: SinkMember | null, limit: number): Promise<SinkMember[]> {
    const { post, metric, actor } = after ?? { post: '', metric: '', actor: 0n };
    return await this.#read(this.#selectAfter, [post, metric, String(actor), limit]);
  }

  async readOf(post: string, after: SinkMember | null, limit: number): Promise<SinkMember[]> {
    const { metric, actor } = after ?? { metric: '', actor: 0n };
    return await this.#read(this.#selectOf, [post, metric, String(actor), limit]);
  }

  async findMissing(members: readonly Member[]): Promise<Member[]> {
    const rows = await this.transact((query) =>
      query<{ readonly n: number }>(this.#selectMissing, memberKeys(members, this.metrics)),
    );
    return rows.map(({ n }) => members[n - 1]!);
  }

  async count(posts: readonly string[]): Promise<readonly { post: string; metric: string; count: number }[]> {
    return await this.transact((query) => query(this.#count, [plainTextsLiteral(posts)]));
  }

  async findUncounted(after: string, limit: number): Promise<{ posts: string[]; next: string | null }> {
    const rows = await this.transact((query) =>
      query<{ readonly post: string; readonly counted: boolean }>(this.#selectPosts, [after, limit]),
    );
    return {
      posts: rows.filter(({ counted }) => !counted).map(({ post }) => post),
      next: rows.at(limit - 1)?.post ?? null,
    };
  }

  /** A post that has got counts meanwhile keeps its members. */
  async deleteUncounted(posts: readonly string[]): Promise<void> {
    await this.transact(async (query) => {
      await query(this.#lock);
      await query(this.#deleteUncounted, [posts]);
    });
  }

  async #read(text: string, values: readonly (string | number)[]): Promise<SinkMember[]> {
    const rows = await this.transact((query) => query<MemberRow>(text, values));
    return rows.map(({ post, metric, actor_text: actor }) => ({ post, metric, actor: BigInt(actor) }));
  }
}
