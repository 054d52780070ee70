import { bucketOf } from '../../counters/bucket-of.js';
import type { BucketWrite } from '../sink.js';
import type { MemberStatements, SyncedMembers } from './member-statements.js';
import type { NextTurn } from './position-statements.js';
import type { Query } from './postgres-connection.js';

/** By bucket: the turn with which its full sync began. Members with an earlier one were not sent since. */
export type SyncTurns = Map<number, number>;

/** Writes the members of transactions. */
export class MemberWrites {
  constructor(
    private readonly statements: MemberStatements,
    private readonly buckets: number,
  ) {}

  /**
   * @param turns of the writes, by index
   * @param lost posts that the store does not have any more, as full syncs have found out
   */
  async write(
    query: Query,
    writes: readonly BucketWrite[],
    turns: readonly NextTurn[],
    syncTurns: SyncTurns,
    lost: readonly string[],
  ): Promise<void> {
    const turnOf = new Map(turns.map(({ bucket, turn }) => [bucket, turn]));
    for (const { bucket, startsFullSync } of writes) if (startsFullSync) syncTurns.set(bucket, turnOf.get(bucket)!);
    const members = writes.flatMap((write) =>
      write.members.map((member) => ({ ...member, turn: turnOf.get(write.bucket)! })),
    );
    if (members.length > 0) await this.statements.write(query, members);
    const posts = [...writes.flatMap(({ postsWithAllMembers }) => postsWithAllMembers), ...lost];
    const synced = posts.map((post): SyncedMembers => {
      const bucket = bucketOf(post, this.buckets);
      return { post, fromTurn: syncTurns.get(bucket)!, toTurn: turnOf.get(bucket)! };
    });
    await this.statements.prune(query, synced);
  }
}
