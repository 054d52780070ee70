import type { PostCounts } from '../../../counters/batch.js';
import { formatEpoch } from '../../../counters/bucket.js';
import type { IncarnationStart } from '../../../counters/changed-posts.js';
import type { PostMilestone } from '../../../counters/milestones.js';
import type { Incarnation } from '../../../counters/pn-counter.js';
import type { ChangePage, MemberState } from '../../change-store.js';
import { parseDecimalKey } from './key64-decimal.js';
import { readRecord } from './milestones-decoder.js';
import { MsgpackReader } from './msgpack-reader.js';
import { RedisPostRecord } from './redis-post-record.js';

/** Counts have these beside what is in a record. */
export interface CountsContext {
  readonly region: string;
  readonly metricCount: number;
}

/** @param reply about one bucket of scripts/collect-changed-posts-n.lua */
export function decodeChangePage(bucket: number, reply: Buffer, context: CountsContext): ChangePage {
  const values = new MsgpackReader(reply);
  const [isComplete, upTo] = [values.readInteger() === 1, values.readInteger()];
  const state = decodeState(Buffer.from(values.readBytes()), context);
  const { droppedUpTo, starts } = decodeHistory(Buffer.from(values.readBytes()));
  const current = starts.at(-1)!;
  const posts: PostCounts[] = [];
  for (let left = values.readInteger(); left > 0; left--) {
    const post = values.readText();
    posts.push(buildPostCounts(post, new RedisPostRecord(Buffer.from(values.readBytes())), current, context));
  }
  const milestones: PostMilestone[] = [];
  for (let left = values.readInteger(); left > 0; left--) {
    milestones.push({ post: values.readText(), metric: values.readInteger(), ...readRecord(values, context.region) });
  }
  const progress = { bucket, starts, droppedUpTo, upTo, isComplete };
  return { ...progress, ...state, posts, milestones, members: decodeMembers(values) };
}

/** Decodes sets of members until the end. */
function decodeMembers(values: MsgpackReader): MemberState[] {
  const members: MemberState[] = [];
  while (!values.isDone) {
    const [post, metric] = [values.readText(), values.readInteger()];
    for (let left = values.readInteger(); left > 0; left--) {
      members.push({ post, metric, actor: parseDecimalKey(values.readText()), on: values.readInteger() === 1 });
    }
  }
  return members;
}

/** @param current the current incarnation of the bucket */
export function buildPostCounts(
  post: string,
  record: RedisPostRecord,
  { epoch, nonce }: Incarnation,
  { region, metricCount }: CountsContext,
): PostCounts {
  const { version: v, updatedAtMs } = record;
  const e = formatEpoch({ region, epoch, nonce });
  return { post, e, v, updatedAtMs: v === 0 ? null : updatedAtMs, totals: record.computeTotals(metricCount), live: 0 };
}

/** Decodes the field `changed_posts`. */
function decodeState(bytes: Buffer, { metricCount }: CountsContext): Pick<ChangePage, 'changedAtMs' | 'sums'> {
  const values = new MsgpackReader(bytes);
  // The seq, and how many posts and members stand under it.
  values.readText();
  values.readInteger();
  const changedAtMs = values.readInteger();
  // Epoch and nonce of the last start, which is in the history, too; and whether members are recorded.
  values.readInteger();
  values.readInteger();
  values.readInteger();
  const sums = Array.from({ length: metricCount }, () => (values.isDone ? 0 : values.readInteger()));
  return { changedAtMs, sums };
}

/** Decodes the field `changed_posts_history`. */
function decodeHistory(bytes: Buffer): Pick<ChangePage, 'droppedUpTo' | 'starts'> {
  const values = new MsgpackReader(bytes);
  const droppedUpTo = values.readInteger();
  // The time of the last read that was noted.
  values.readInteger();
  const starts: IncarnationStart[] = [];
  while (!values.isDone) {
    const [epoch, nonce] = [values.readInteger(), values.readInteger()];
    starts.push({ epoch, nonce, startSeq: values.readInteger(), startMs: values.readInteger() });
  }
  return { droppedUpTo, starts };
}
