import { describe, expect, it } from '@jest/globals';
import type { Batch } from '../../counters/batch.js';
import { METRICS, view } from '../../../test/contract/operations.js';
import { BatchEncoder } from './codec/batch-encoder.js';
import { COMMIT_REPLIES, type CommitReply } from './codec/reply-decoder.js';
import { BatchCommitter } from './batch-committer.js';

const DONE = Buffer.from([COMMIT_REPLIES.APPLIED]);
const UNNAMED = Buffer.from([COMMIT_REPLIES.UNNAMED]);

function batchOf(bucket: number, operations = 1): Batch {
  const one = view('a');
  return {
    bucket,
    producerId: 'life',
    batchNumber: 1,
    atMs: 0,
    operations: Array.from({ length: operations }, () => one),
  };
}

/** Commits the batches in one turn. @returns the buckets of each call, and the result of each batch */
async function commitAll(
  together: boolean,
  batches: readonly Batch[],
  replyTo: (bucket: number) => Buffer = () => DONE,
): Promise<{ calls: number[][]; settled: PromiseSettledResult<CommitReply>[] }> {
  const calls: number[][] = [];
  const commits = new BatchCommitter(METRICS, together, async (packed) => {
    const buckets = packed.map(({ bucket }) => bucket);
    calls.push(buckets);
    return Promise.resolve(buckets.map(replyTo));
  });
  const settled = await Promise.allSettled(batches.map((batch) => commits.commit(batch)));
  return { calls, settled };
}

describe('BatchCommitter', () => {
  it('batches of one turn are committed by one call', async () => {
    const { calls, settled } = await commitAll(
      true,
      [3, 1, 2].map((bucket) => batchOf(bucket)),
    );
    expect(calls).toEqual([[3, 1, 2]]);
    expect(settled).toEqual(Array(3).fill({ status: 'fulfilled', value: { posts: ['a'], packed: DONE } }));
  });

  it('large batches are committed by several calls', async () => {
    const batches = [batchOf(0, 100), batchOf(1, 150), batchOf(2, 1), batchOf(3, 500), batchOf(4, 249)];
    expect((await commitAll(true, batches)).calls).toEqual([[0, 1], [2], [3], [4]]);
  });

  it('a batch has a call of its own if each bucket may be on another server', async () => {
    expect((await commitAll(false, [batchOf(0), batchOf(1)])).calls).toEqual([[0], [1]]);
  });

  it('a rejected batch does not reject the others of its call', async () => {
    const replyTo = (bucket: number): Buffer => (bucket === 1 ? Buffer.from('-WRONGTYPE of a key') : DONE);
    const { settled } = await commitAll(true, [batchOf(0), batchOf(1), batchOf(2)], replyTo);
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(settled[1]).toMatchObject({ reason: { message: 'WRONGTYPE of a key' } });
  });

  it('a batch is sent again with the names of its operations if the script needs them', async () => {
    const sent: Buffer[] = [];
    const commits = new BatchCommitter(METRICS, true, (calls) => {
      sent.push(...calls.map(({ packed }) => packed));
      return Promise.resolve(calls.map(({ bucket }) => (bucket === 1 && sent.length <= 2 ? UNNAMED : DONE)));
    });
    const replies = await Promise.all([0, 1].map((bucket) => commits.commit(batchOf(bucket))));
    expect(replies.map(({ packed }) => packed)).toEqual([DONE, DONE]);
    const encoder = new BatchEncoder(METRICS);
    const expected = [encoder.encode(batchOf(0)), encoder.encode(batchOf(1)), encoder.encode(batchOf(1), true)];
    expect(sent).toEqual(expected.map(({ packed }) => packed));
  });

  it('all batches are rejected when their call fails', async () => {
    const commits = new BatchCommitter(METRICS, true, () => Promise.reject(new Error('the connection was lost')));
    const settled = await Promise.allSettled([0, 1].map((bucket) => commits.commit(batchOf(bucket))));
    expect(settled).toMatchObject(
      Array(2).fill({ status: 'rejected', reason: { message: 'the connection was lost' } }),
    );
  });
});
