import type { Incarnation, RegionIncarnation } from '../../../counters/pn-counter.js';
import type { Delta, HomeDelta, PostDelta, ToggleRegister } from '../../../counters/replication/delta.js';
import type { BucketStatus } from '../../replicated-store.js';
import { readHome } from './homes-codec.js';
import { MsgpackReader } from './msgpack-reader.js';
import { RedisPostRecord } from './redis-post-record.js';
import { parseDecimalKey } from './key64-decimal.js';

/** First value of a reply of scripts/changes-since-n.lua. */
export const CHANGES_REPLIES = { FORGOTTEN: 0, FOUND: 1 } as const;

/** A bucket's status, with what a delta of it needs. */
export interface ReplicationStatus extends BucketStatus {
  readonly startedAtStamp: number;
  readonly predecessors: readonly Incarnation[];
  readonly ackedUpTo: number;
  readonly stableStamp: number;
}

/** @param reply of scripts/bucket-status-n.lua */
export function decodeStatus(reply: Buffer): ReplicationStatus {
  const values = new MsgpackReader(reply);
  const [epoch, nonce, clock] = [values.readInteger(), values.readInteger(), values.readInteger()];
  const [startedAtStamp, recoveredUpTo] = [values.readInteger(), values.readInteger()];
  const [ackedUpTo, stableStamp] = [values.readInteger(), values.readInteger()];
  const backfilling = values.readInteger() === 1;
  const regions = values.readText();
  const syncedFrom = regions === '' ? [] : regions.split(',');
  const predecessors = readPredecessors(values);
  const progress = { recoveredUpTo, ackedUpTo, stableStamp, backfilling, syncedFrom };
  return { epoch, nonce, clock, startedAtStamp, predecessors, ...progress };
}

function readPredecessors(values: MsgpackReader): Incarnation[] {
  return Array.from({ length: values.readInteger() }, () => ({
    epoch: values.readInteger(),
    nonce: values.readInteger(),
  }));
}

/** @returns a delta of a full sync, without posts */
export function emptyFullSync(region: string, bucket: number, status: ReplicationStatus): Delta {
  const { epoch, nonce, startedAtStamp, predecessors, ackedUpTo, stableStamp } = status;
  const source = { region, epoch, nonce };
  const stamps = { startedAtStamp, after: 0, upTo: 0, ackedUpTo, stableStamp };
  return { kind: 'full-sync', bucket, source, predecessors, ...stamps, posts: [], fullSyncReceiver: null };
}

/**
 * @param reply of scripts/changes-since-n.lua
 * @returns `null` if the change feed no longer goes back to `after`: a full sync is needed
 */
export function decodeChanges(reply: Buffer, region: string, bucket: number, after: number): Delta | null {
  const values = new MsgpackReader(reply);
  if (values.readInteger() === CHANGES_REPLIES.FORGOTTEN) return null;
  const source = { region, epoch: values.readInteger(), nonce: values.readInteger() };
  const [startedAtStamp, ackedUpTo, stableStamp] = [values.readInteger(), values.readInteger(), values.readInteger()];
  const upTo = values.readInteger();
  const predecessors = readPredecessors(values);
  const posts = Array.from({ length: values.readInteger() }, () => readPost(values, source));
  for (let left = values.readInteger(); left > 0; left--) {
    const { registers } = posts[values.readInteger()]!;
    const metric = values.readInteger();
    const actor = parseDecimalKey(values.readText());
    registers.push({ metric, actor, stamp: values.readInteger(), on: values.readInteger() === 1 });
  }
  for (let left = values.readInteger(); left > 0; left--) {
    const { index, home } = readHome(values);
    const post = posts[index]!;
    post.homes = [...(post.homes ?? []), home];
  }
  const stamps = { startedAtStamp, after, upTo, ackedUpTo, stableStamp };
  return { kind: 'changes', bucket, source, predecessors, ...stamps, posts, fullSyncReceiver: null };
}

interface PostChanges extends PostDelta {
  readonly registers: ToggleRegister[];
  homes?: readonly HomeDelta[];
}

function readPost(values: MsgpackReader, source: RegionIncarnation): PostChanges {
  const post = values.readText();
  const hasNewCounts = values.readInteger() === 1;
  const bytes = Buffer.from(values.readBytes());
  const record = bytes.length === 0 ? null : new RedisPostRecord(bytes);
  const entries = hasNewCounts && record !== null ? record.ownEntries(source) : [];
  return { post, updatedAtMs: record?.updatedAtMs ?? 0, entries, registers: [], members: [] };
}
