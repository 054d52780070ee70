import { groupBy } from '../../../common/grouping.js';
import type { PostMilestone, ReachedMilestone } from '../../../counters/milestones.js';
import { REACHED_BY } from './milestones-decoder.js';
import { MsgpackWriter } from './msgpack-writer.js';

/** Encodes the argument of scripts/restore-milestones-1.lua. @param region that of the store */
export function encodeMilestones(records: readonly PostMilestone[], region: string): Buffer {
  const writer = new MsgpackWriter();
  for (const some of groupBy(records, ({ post, metric }) => `${post} ${metric}`).values()) {
    const { post, metric } = some[0]!;
    writer.writeText(post);
    for (const number of [metric, some.length]) writer.writeInteger(number);
    for (const record of some) writeRecord(writer, record, record.region === region ? '' : record.region);
  }
  return writer.take();
}

/**
 * The inverse of `readRecord`.
 * @param region that decided; empty: that of the store
 */
export function writeRecord(writer: MsgpackWriter, record: ReachedMilestone, region: string): void {
  writer.writeInteger(record.n);
  for (const key of [record.actor, record.session]) {
    if (key === null) writer.writeText('');
    else writer.writeKey(key);
  }
  const { seq, value, total, v, epoch, atMs, recordedAtMs } = record;
  const kind = REACHED_BY[record.kind];
  const missed = record.missed ? 1 : 0;
  for (const number of [seq, kind, value, total, v, epoch, atMs, recordedAtMs, missed]) writer.writeInteger(number);
  writer.writeText(region);
  writer.writeInteger(record.isFinal === true ? 1 : 0);
}
