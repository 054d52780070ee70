import { bucketOf } from '../../../src/counters/bucket-of.js';
import type { Delta } from '../../../src/counters/replication/delta.js';

/** Inputs that have failed once, by surface. They run before all others. */

/** Contains the only namespace, which a stock server treats like a missing one. */
const packets = ['2/,1["like",{"post":"fuzz"}]'];

/** JavaScript destructures a text like a list; its second character became the end of an epoch. */
const publishedTexts = ['"xxxxxx"', '[1,"\\"},",1,1,1,1,1]', '[1,1,1,1,1,"x"]', '[1,1,1,9e15,1,1,1]'].map((text) =>
  Buffer.from(text),
);

/** Inputs that end within a number. */
const commitReplies = [Buffer.of(1, 207), Buffer.of(1, 204)];

/** Inputs whose first number is over 2^53 - 1. */
const standingReplies = [Buffer.from('cf01000000000000800000cf0000000000000080cf0000000000000080000000a000', 'hex')];
const changesReplies = [Buffer.from('0100cf0100000000000080000000000000', 'hex')];

/** An entry belongs to a missing incarnation. */
const redisRecords = [Buffer.from('000000000000cf00000000000000c200', 'hex')];

/** A number of 150 bytes, all zero except their continuation bits. */
const postRecords = [Buffer.from([0, ...Buffer.alloc(150, 0x80), 16, 0, 1, 64, 0, 1, 1, ...Buffer.alloc(15)])];

/** It is too short for its shared bytes. */
const chunks = [Buffer.of(7), Buffer.of(200, 0), Buffer.of()];

/** For each of the five channels: a disconnect to all, as a packet. */
const redisMessages = Array.from({ length: 5 }, (_, channel) => ({
  channel,
  message: Buffer.from(
    '{"uid":"0123456789abcdef","nsp":"/","type":3,"data":{"packet":{"type":1,"nsp":"/"},"opts":{"rooms":[],"except":[],"flags":{}}}}',
  ),
}));

/** A region that names an incarnation of the receiver which never started. */
const withoutIncarnation: Delta = {
  kind: 'changes',
  bucket: bucketOf('p1', 64),
  source: { region: 'us', epoch: 1, nonce: 7 },
  ...{ startedAtStamp: 0, predecessors: [], after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0, fullSyncReceiver: null },
  posts: [
    {
      post: 'p1',
      updatedAtMs: Date.UTC(2026, 0, 1),
      entries: [{ metric: 0, incarnation: { region: 'eu', epoch: 2, nonce: 7 }, p: 0, n: 0 }],
      registers: [],
      members: [],
    },
  ],
};
const calls = [[[withoutIncarnation]]];

export const KEPT = {
  redisMessages,
  calls,
  packets,
  publishedTexts,
  commitReplies,
  standingReplies,
  changesReplies,
  redisRecords,
  chunks,
  postRecords,
};
