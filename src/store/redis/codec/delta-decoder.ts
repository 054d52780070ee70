import type { Incarnation } from '../../../counters/pn-counter.js';
import type { EntryDelta, PostDelta, ToggleRegister, Delta } from '../../../counters/replication/delta.js';
import type { BucketStatus } from '../../replicated-store.js';
import { MsgpackReader } from './msgpack-reader.js';
import { RedisPostRecord } from './redis-post-record.js';
import { parseDecimalKey } from './decimal-key.js';

/** First value of a reply of scripts/changes-since-n.lua. */
export const CHANGES_REPLIES = { FORGOTTEN: 0, FOUND: 1 } as const;

/** How a bucket stands, with what a shipment of it says. */
export interface ReplicationStatus extends BucketStatus {
  readonly startedAtStamp: number;
  readonly predecessors: readonly Incarnation[];
  readonly ackedUpTo: number;
  readonly stableStamp: number;
}

/** Of scripts/bucket-status-n.lua. */
export function decodeStatus(answer: Buffer): ReplicationStatus {
  const values = new MsgpackReader(answer);
  const [epoch, nonce] = [values.readInteger(), values.readInteger()];
  const [clock, born, found] = [values.readInteger(), values.readInteger(), values.readInteger()];
  const [confirmed, floor] = [values.readInteger(), values.readInteger()];
  const filling = values.readInteger() === 1;
  const told = values.readText();
  const toldBy = told === '' ? [] : told.split(',');
  return {
    epoch,
    nonce,
    clock,
    startedAtStamp: born,
    predecessors: livesIn(values),
    recoveredUpTo: found,
    ackedUpTo: confirmed,
    stableStamp: floor,
    backfilling: filling,
    syncedFrom: toldBy,
  };
}

function livesIn(values: MsgpackReader): Incarnation[] {
  return Array.from({ length: values.readInteger() }, () => ({
    epoch: values.readInteger(),
    nonce: values.readInteger(),
  }));
}

/** A part of a scan that says nothing yet. */
export function emptyFullSync(region: string, bucket: number, standing: ReplicationStatus): Delta {
  const {
    epoch,
    nonce,
    startedAtStamp: born,
    predecessors: goesOn,
    ackedUpTo: confirmed,
    stableStamp: floor,
  } = standing;
  const source = { region, epoch, nonce };
  return {
    kind: 'full-sync',
    bucket,
    source,
    startedAtStamp: born,
    predecessors: goesOn,
    after: 0,
    upTo: 0,
    ackedUpTo: confirmed,
    stableStamp: floor,
    posts: [],
    fullSyncReceiver: null,
  };
}

/** Of scripts/changes-since-n.lua; `null`: it has to be scanned for. */
export function decodeChanges(answer: Buffer, region: string, bucket: number, after: number): Delta | null {
  const values = new MsgpackReader(answer);
  if (values.readInteger() === CHANGES_REPLIES.FORGOTTEN) return null;
  const source = { region, epoch: values.readInteger(), nonce: values.readInteger() };
  const [born, confirmed, floor] = [values.readInteger(), values.readInteger(), values.readInteger()];
  const upTo = values.readInteger();
  const goesOn = livesIn(values);
  const posts = Array.from({ length: values.readInteger() }, (): PostDelta & { registers: ToggleRegister[] } => {
    const post = values.readText();
    const counted = values.readInteger() === 1;
    const bytes = Buffer.from(values.readBytes());
    const record = bytes.length === 0 ? null : new RedisPostRecord(bytes);
    const entries: EntryDelta[] = counted && record !== null ? record.ownEntries(source) : [];
    return { post, updatedAtMs: record?.updatedAtMs ?? 0, entries, registers: [], members: [] };
  });
  for (let left = values.readInteger(); left > 0; left--) {
    const place = values.readInteger();
    const metric = values.readInteger();
    const actor = parseDecimalKey(values.readText());
    posts[place]!.registers.push({ metric, actor, stamp: values.readInteger(), on: values.readInteger() === 1 });
  }
  return {
    kind: 'changes',
    bucket,
    source,
    startedAtStamp: born,
    predecessors: goesOn,
    after,
    upTo,
    ackedUpTo: confirmed,
    stableStamp: floor,
    posts,
    fullSyncReceiver: null,
  };
}
