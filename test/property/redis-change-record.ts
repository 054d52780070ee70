import type { Redis } from 'ioredis';
import { FEED_MAX } from '../../src/counters/change-feed.js';
import { ENTRIES_PER_SEQ } from '../../src/counters/changed-posts.js';
import { MsgpackReader } from '../../src/store/redis/codec/msgpack-reader.js';

/** Checks what Redis has recorded of a bucket's changed posts. @returns a line for each fault */
export async function findRecordFaults(client: Redis, bucket: number, known: readonly string[]): Promise<string[]> {
  const key = `tc:{${bucket}}`;
  const [state, history] = await client.hmgetBuffer(key, 'changed_posts', 'changed_posts_history');
  const entries = await client.zrange(`${key}:changed_posts`, '0', '-1', 'WITHSCORES');
  const posts = entries.filter((_, i) => i % 2 === 0);
  const seqs = entries.filter((_, i) => i % 2 === 1).map(Number);
  if (state === null) return posts.length > 0 ? ['nothing is recorded, and there are changed posts'] : [];
  const values = new MsgpackReader(state!);
  const [seq, underSeq] = [Number(values.readText()), values.readInteger()];
  const droppedUpTo = new MsgpackReader(history!).readInteger();
  const faults: string[] = [];
  const underNow = seqs.filter((one) => one === seq).length;
  if (underNow !== underSeq) faults.push(`${underNow} posts stand under seq ${seq} instead of ${underSeq}`);
  if (underSeq >= ENTRIES_PER_SEQ) faults.push(`${underSeq} posts stand under one seq`);
  if (seqs.some((one) => one > seq || one <= droppedUpTo))
    faults.push(`a seq is not from ${droppedUpTo + 1} to ${seq}`);
  if (posts.length > FEED_MAX + underSeq) faults.push(`${posts.length} posts are entered`);
  const names = new Set(known);
  const unknown = posts.filter((post) => !names.has(post));
  if (unknown.length > 0) faults.push(`unknown posts: ${unknown.join(' ')}`);
  return faults;
}
