import { type Key64, toInt64 } from '../../counters/ids.js';
import type { ReadMilestone } from '../../store/milestone-store.js';

/** A milestone that was reached, without who reached it. */
export interface ReachedMilestoneResponse {
  readonly n: number;
  /** The version of the first counts that include it. */
  readonly v: number;
  /** RFC 3339 in UTC, with milliseconds. */
  readonly at: string;
  /** Whether no failover of the store can lose it any more. */
  readonly final: boolean;
  /** Whether the count passed `n` by something that is no operation: then nobody reached it. */
  readonly missed?: true;
}

/** A milestone that was reached, and the operation that reached it. Keys are decimal int64 texts. */
export interface WonMilestoneResponse extends ReachedMilestoneResponse {
  readonly actor: string | null;
  readonly session: string | null;
  readonly seq: number;
  readonly kind: ReadMilestone['kind'];
  readonly value: number;
  readonly total: number;
  readonly region: string;
  readonly epoch: number;
}

export function toReached({ n, v, atMs, final, missed }: ReadMilestone): ReachedMilestoneResponse {
  return { n, v, at: new Date(atMs).toISOString(), final, ...(missed && { missed }) };
}

export function toWon(milestone: ReadMilestone): WonMilestoneResponse {
  const { actor, session, seq, kind, value, total, region, epoch } = milestone;
  const keys = { actor: toKey(actor), session: toKey(session) };
  return { ...toReached(milestone), ...keys, seq, kind, value, total, region, epoch };
}

function toKey(key: Key64 | null): string | null {
  return key === null ? null : String(toInt64(key));
}
