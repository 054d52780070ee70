import type { Member } from '../../src/counters/changed-posts.js';
import type { BucketWrite } from '../../src/sinks/sink.js';

/** Rules of a table of members. Tests plant others. */
export interface MemberRules {
  /** Whether older members of a post go when a full sync has sent all of them. */
  readonly sweepsPosts: boolean;
  /** The turn from which on members are left alone: the first one of the full sync, or the current one. */
  readonly sweepsBelow: 'first turn' | 'current turn';
  /** Whether a full sync begins at another turn if the one before it did not end. */
  readonly renewsFirstTurn: boolean;
  /** Whether posts that the store has lost lose their members. */
  readonly clearsLostPosts: boolean;
}

export const MEMBER_RULES: MemberRules = {
  sweepsPosts: true,
  sweepsBelow: 'first turn',
  renewsFirstTurn: true,
  clearsLostPosts: true,
};

/** A row of the table of members. */
export interface TableMember {
  readonly bucket: number;
  readonly post: string;
  /** That of its last write. */
  readonly turn: number;
}

/** Turns of a bucket in a transaction. */
export interface MemberTurns {
  readonly current: number;
  /** That of the transaction in which the full sync began. */
  readonly first: number;
}

/** Writes the members of a bucket. */
export function writeMembers(
  table: Map<string, TableMember>,
  { bucket, members, postsWithAllMembers }: BucketWrite,
  { current, first }: MemberTurns,
  { sweepsPosts, sweepsBelow }: MemberRules,
): void {
  for (const member of members) {
    if (member.on) table.set(memberKey(member), { bucket, post: member.post, turn: current });
    else table.delete(memberKey(member));
  }
  if (sweepsPosts) removeMembers(table, postsWithAllMembers, sweepsBelow === 'first turn' ? first : current);
}

/** Removes the members of posts that were written before a turn. */
export function removeMembers(table: Map<string, TableMember>, posts: readonly string[], below: number): void {
  for (const [key, { post, turn }] of table) if (turn < below && posts.includes(post)) table.delete(key);
}

export function memberKey({ post, metric, actor }: Member): string {
  return `${post} ${metric} ${actor.hi}:${actor.lo}`;
}
