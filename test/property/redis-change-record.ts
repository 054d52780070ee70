import type { Redis } from 'ioredis';
import { FEED_MAX } from '../../src/counters/change-feed.js';
import { ENTRIES_PER_SEQ, FEED_WITH_MEMBERS_MAX } from '../../src/counters/changed-posts.js';
import { MsgpackReader } from '../../src/store/redis/codec/msgpack-reader.js';

/** Checks what Redis has recorded of a bucket's changes. @returns a line for each fault */
export async function findRecordFaults(client: Redis, bucket: number, known: readonly string[]): Promise<string[]> {
  const key = `tc:{${bucket}}`;
  const [state, history] = await client.hmgetBuffer(key, 'changed_posts', 'changed_posts_history');
  const list = await client.zrange(`${key}:changed_posts`, '0', '-1', 'WITHSCORES');
  const entries = list.filter((_, i) => i % 2 === 0);
  const seqs = list.filter((_, i) => i % 2 === 1).map(Number);
  if (state === null) return entries.length > 0 ? ['nothing is recorded, and there are changes'] : [];
  const { seq, underSeq, recordsMembers } = decodeState(state!);
  const droppedUpTo = new MsgpackReader(history!).readInteger();
  const faults: string[] = [];
  const underNow = seqs.filter((one) => one === seq).length;
  if (underNow !== underSeq) faults.push(`${underNow} entries stand under seq ${seq} instead of ${underSeq}`);
  if (underSeq >= ENTRIES_PER_SEQ) faults.push(`${underSeq} entries stand under one seq`);
  if (seqs.some((one) => one > seq || one <= droppedUpTo))
    faults.push(`a seq is not from ${droppedUpTo + 1} to ${seq}`);
  if (entries.length > (recordsMembers ? FEED_WITH_MEMBERS_MAX : FEED_MAX) + underSeq)
    faults.push(`${entries.length} changes are entered`);
  if (!recordsMembers && entries.some((entry) => entry.includes(' '))) faults.push('members are entered');
  const names = new Set(known);
  const unknown = entries.filter((entry) => !names.has(entry.split(' ')[0]!));
  if (unknown.length > 0) faults.push(`unknown posts: ${unknown.join(' ')}`);
  return faults;
}

function decodeState(bytes: Buffer): { seq: number; underSeq: number; recordsMembers: boolean } {
  const values = new MsgpackReader(bytes);
  const [seq, underSeq] = [Number(values.readText()), values.readInteger()];
  // Time of the last change, epoch and nonce of the last start.
  for (let i = 0; i < 3; i++) values.readInteger();
  return { seq, underSeq, recordsMembers: values.readInteger() === 1 };
}
