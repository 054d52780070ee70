import type { PostState } from '../../counters/bucket.js';
import type { Entry, Replica } from '../../counters/pn-counter.js';
import { ByteReader, ByteWriter, KEY64_BYTES, type KeySet, NO_KEYS } from './bytes.js';

/**
 * A post as it lies on disk. All numbers are varints:
 *
 *     v  updatedAtMs  metric*                       metrics by index; trailing ones that are empty are left out
 *     metric:  members  chunks  entries  entry*  key*
 *     entry:   replica  p  n                        replica: index into the data directory's table of replicas
 *     key:     8 bytes                              the members themselves, sorted, while chunks is 0
 *
 * So likes and views with one region and no members take about 20 bytes.
 */
export interface PostRecord {
  readonly state: PostState;
  /** By metric index: where the toggle's members are. */
  readonly members: MemberPlace[];
}

export interface MemberPlace {
  /** How many members there are. */
  size: number;
  /** 0: they stand in `inline`. Else in this many chunks of the members table. */
  chunks: number;
  inline: KeySet;
}

const writer = new ByteWriter();

/** The place of a metric's members, added to the record if it has none yet. */
export function memberPlace(record: PostRecord, metric: number): MemberPlace {
  while (record.members.length <= metric) record.members.push({ size: 0, chunks: 0, inline: NO_KEYS });
  return record.members[metric]!;
}

export function encodePost({ state, members }: PostRecord, replicaIndex: (replica: Replica) => number): Buffer {
  writer.varint(state.v).varint(state.updatedAtMs);
  state.metrics.forEach((metric, index) => {
    const place = members[index];
    writer
      .varint(metric.members)
      .varint(place?.chunks ?? 0)
      .varint(metric.counter.length);
    for (const { replica, p, n } of metric.counter) writer.varint(replicaIndex(replica)).varint(p).varint(n);
    if (place !== undefined && place.chunks === 0) writer.raw(place.inline);
  });
  return writer.take();
}

export function decodePost(bytes: Buffer, replicas: readonly Replica[]): PostRecord {
  const reader = new ByteReader(bytes);
  const record: PostRecord = { state: { v: reader.varint(), updatedAtMs: reader.varint(), metrics: [] }, members: [] };
  while (!reader.atEnd) {
    const members = reader.varint();
    const chunks = reader.varint();
    const counter: Entry[] = [];
    for (let entries = reader.varint(); entries > 0; entries--) {
      const replica = replicas[reader.varint()];
      if (replica === undefined) throw new RangeError('a record names a replica that the data directory does not know');
      counter.push({ replica, p: reader.varint(), n: reader.varint() });
    }
    const inline = chunks === 0 && members > 0 ? reader.raw(members * KEY64_BYTES) : NO_KEYS;
    record.state.metrics.push({ members, counter });
    record.members.push({ size: members, chunks, inline });
  }
  return record;
}
