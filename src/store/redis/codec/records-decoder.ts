import { pages } from '../../../common/grouping.js';
import type { Incarnation, RegionIncarnation } from '../../../counters/pn-counter.js';
import type { HomeDelta } from '../../../counters/replication/delta.js';
import { readHome } from './homes-codec.js';
import { MsgpackReader } from './msgpack-reader.js';
import { RedisPostRecord } from './redis-post-record.js';

/** Records of posts of one bucket. */
export interface RecordsPage {
  /** The current incarnation of the bucket; epoch 0: it has none yet. */
  readonly incarnation: Incarnation;
  /** Whether the bucket has the run id of its server; otherwise another incarnation is about to start. */
  readonly isCurrent: boolean;
  /** Incarnations of other regions, by the slot of their entries, from 1. */
  readonly incarnations: readonly RegionIncarnation[];
  /** Chunks of posts that the bucket has. */
  readonly chunks: number;
  /** Whether milestones were armed in the bucket. */
  readonly hasMilestones: boolean;
  readonly records: ReadonlyMap<string, RedisPostRecord>;
  /** Only with other regions: those of these posts, and with the first chunk those of posts without a record. */
  readonly homes: ReadonlyMap<string, readonly HomeDelta[]>;
}

/** @param reply of scripts/read-records-1.lua */
export function decodeRecords(reply: unknown): RecordsPage {
  const [current, epoch, nonce, incarnations, chunks, hasMilestones, list, packedHomes] = reply as [
    ...[current: number, epoch: number, nonce: number, incarnations: Buffer, chunks: number, hasMilestones: number],
    list: Buffer[],
    packedHomes: Buffer,
  ];
  const records = new Map(
    pages(list, 2).map(([post, record]) => [post!.toString('latin1'), new RedisPostRecord(record!)]),
  );
  const incarnation = { epoch, nonce };
  const flags = { isCurrent: current === 1, hasMilestones: hasMilestones === 1 };
  const homes = decodeHomes(packedHomes);
  return { incarnation, ...flags, incarnations: decodeIncarnations(incarnations), chunks, records, homes };
}

function decodeHomes(encoded: Buffer): Map<string, HomeDelta[]> {
  const values = new MsgpackReader(encoded);
  const homes = new Map<string, HomeDelta[]>();
  while (!values.isDone) {
    const post = values.readText();
    homes.set(
      post,
      Array.from({ length: values.readInteger() }, () => readHome(values).home),
    );
  }
  return homes;
}

function decodeIncarnations(encoded: Buffer): RegionIncarnation[] {
  const values = new MsgpackReader(encoded);
  const incarnations: RegionIncarnation[] = [];
  while (!values.isDone) {
    incarnations.push({ region: values.readText(), epoch: values.readInteger(), nonce: values.readInteger() });
  }
  return incarnations;
}
