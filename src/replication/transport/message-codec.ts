import { STORED_POST_PATTERN } from '../../counters/ids.js';
import type { DeltaAck } from '../../counters/replication/delta.js';
import { METRICS_MAX } from '../../counters/metrics.js';
import {
  type ForwardedOperation,
  HOPS_MAX,
  OPERATIONS_PER_CALL_MAX,
} from '../../counters/replication/forwarded-operation.js';
import { APPLIED, DUPLICATE, ELSEWHERE, SWITCHED, SWITCHED_FROM_BIT } from '../../counters/operation.js';
import type { BucketDigest, Difference } from './peer.js';
import { WireError, WireReader, WireWriter } from './wire-format.js';

/*
 * The other messages between regions, written as in delta-codec.ts:
 *
 *     acks           (bucket · flags (a byte) · epoch · nonce · upTo · epoch and nonce of the receiver)[]
 *                    flags: 1 incarnation rejected + 2 backfilling + 4 fully synced + 8 rejected as ahead + 16 rejected for its entries
 *     digests        (bucket · before · leaf[] (4 bytes each))[]
 *     differences    (bucket · leaf[])[]
 *     posts          (length, ASCII)[]
 *     operations     (post · metric · flags (a byte) · value, of an adjustment plus 1 · actor (8 bytes) · session (8 bytes) · seq · second)[]
 *                    flags: kind + 4 if there is an actor + 8 x hops; a second only of a visit
 *     outcomes       byte[]
 *     settings       flags (a byte): 1 LOG_URL is set
 */
const INCARNATION_REJECTED = 1;
const BACKFILLING = 2;
const FULLY_SYNCED = 4;
const REJECTED_AHEAD = 8;
const REJECTED_ENTRIES = 16;
const REJECTED = REJECTED_AHEAD | REJECTED_ENTRIES;

/** Least length of an item of each list. A list that is announced longer than the message is rejected before it is read. */
const ACK_BYTES = 7;
const DIGEST_BYTES = 3;
const LEAF_BYTES = 4;
const DIFFERENCE_BYTES = 2;
const POST_BYTES = 2;
const OPERATION_BYTES = 14;

const KINDS = ['add', 'set', 'adjust', 'visit'] as const;
const HAS_ACTOR = 4;
const HOPS_BIT = 3;

const HAS_LOG = 1;

export function encodeAcks(acks: readonly DeltaAck[]): Buffer {
  return encodeList(acks, (writer, ack) => {
    writer.varint(ack.bucket);
    writer.byte(encodeFlags(ack));
    writer.incarnation(ack);
    writer.varint(ack.upTo);
    writer.incarnation(ack.receiver);
  });
}

/** @throws WireError if `encodeAcks` cannot have written the bytes */
export function decodeAcks(bytes: Uint8Array): DeltaAck[] {
  return decodeList(bytes, 'acks', ACK_BYTES, (reader) => {
    const bucket = reader.varint('bucket');
    const flags = reader.byte('flags', INCARNATION_REJECTED | BACKFILLING | FULLY_SYNCED | REJECTED);
    const ack = {
      bucket,
      incarnationRejected: (flags & INCARNATION_REJECTED) > 0,
      backfilling: (flags & BACKFILLING) > 0,
      fullySynced: (flags & FULLY_SYNCED) > 0,
      ...reader.incarnation('incarnation'),
      upTo: reader.varint('upTo'),
      receiver: reader.incarnation('receiver'),
    };
    const rejected = flags & REJECTED;
    return rejected === 0 ? ack : { ...ack, rejection: rejected === REJECTED_AHEAD ? 'ahead' : 'entries' };
  });
}

function encodeFlags({ incarnationRejected, backfilling, fullySynced, rejection }: DeltaAck): number {
  const rejected = rejection === undefined ? 0 : rejection === 'ahead' ? REJECTED_AHEAD : REJECTED_ENTRIES;
  return (
    (incarnationRejected ? INCARNATION_REJECTED : 0) |
    (backfilling ? BACKFILLING : 0) |
    (fullySynced ? FULLY_SYNCED : 0) |
    rejected
  );
}

export function encodeDigests(digests: readonly BucketDigest[]): Buffer {
  return encodeList(digests, (writer, { bucket, beforeMs, leaves }) => {
    writer.varint(bucket);
    writer.varint(beforeMs);
    writer.varint(leaves.length);
    for (const leaf of leaves) writer.unsigned32(leaf);
  });
}

/** @throws WireError if `encodeDigests` cannot have written the bytes */
export function decodeDigests(bytes: Uint8Array): BucketDigest[] {
  return decodeList(bytes, 'digests', DIGEST_BYTES, (reader) => {
    return {
      bucket: reader.varint('bucket'),
      beforeMs: reader.varint('before'),
      leaves: reader.list('leaves', LEAF_BYTES, () => reader.unsigned32('leaf')),
    };
  });
}

export function encodeDifferences(differences: readonly Difference[]): Buffer {
  return encodeList(differences, (writer, { bucket, leaves }) => {
    writer.varint(bucket);
    writer.varint(leaves.length);
    for (const leaf of leaves) writer.varint(leaf);
  });
}

/** @throws WireError if `encodeDifferences` cannot have written the bytes */
export function decodeDifferences(bytes: Uint8Array): Difference[] {
  return decodeList(bytes, 'differences', DIFFERENCE_BYTES, (reader) => {
    return { bucket: reader.varint('bucket'), leaves: reader.list('leaves', 1, () => reader.varint('leaf')) };
  });
}

export function encodeOperations(operations: readonly ForwardedOperation[]): Buffer {
  return encodeList(operations, (writer, { post, metric, kind, value, actor, session, seq, atS, hops }) => {
    writer.text(post);
    writer.varint(metric);
    writer.byte(KINDS.indexOf(kind) | (actor === null ? 0 : HAS_ACTOR) | (hops << HOPS_BIT));
    writer.varint(kind === 'adjust' ? value + 1 : value);
    if (actor !== null) writer.key(actor);
    writer.key(session);
    writer.varint(seq);
    if (kind === 'visit') writer.varint(atS ?? 0);
  });
}

/** @throws WireError if `encodeOperations` cannot have written the bytes */
export function decodeOperations(bytes: Uint8Array): ForwardedOperation[] {
  const operations = decodeList(bytes, 'operations', OPERATION_BYTES, (reader): ForwardedOperation => {
    const post = reader.text('post', STORED_POST_PATTERN);
    const metric = reader.varint('metric', METRICS_MAX - 1);
    const flags = reader.byte('flags', (HOPS_MAX << HOPS_BIT) | HAS_ACTOR | (KINDS.length - 1));
    const kind = KINDS[flags & (KINDS.length - 1)]!;
    const hops = flags >> HOPS_BIT;
    if (hops === 0) throw new WireError('hops must be at least 1');
    const value = reader.varint('value') - (kind === 'adjust' ? 1 : 0);
    const actor = (flags & HAS_ACTOR) > 0 ? reader.key('actor') : null;
    const mark = { session: reader.key('session'), seq: reader.varint('seq') };
    const visit = kind === 'visit' ? { atS: reader.varint('second') } : {};
    return { post, metric, kind, value, actor, ...mark, ...visit, isForwarded: true, hops };
  });
  if (operations.length > OPERATIONS_PER_CALL_MAX)
    throw new WireError(`operations must be at most ${OPERATIONS_PER_CALL_MAX}`);
  return operations;
}

export function encodeOutcomes(outcomes: readonly number[]): Buffer {
  return encodeList(outcomes, (writer, outcome) => writer.byte(outcome));
}

/** @throws WireError if `encodeOutcomes` cannot have written the bytes */
export function decodeOutcomes(bytes: Uint8Array): number[] {
  return decodeList(bytes, 'outcomes', 1, (reader) => {
    const outcome = reader.byte('outcome', 0xff);
    if (outcome === ELSEWHERE) return outcome;
    if ((outcome & APPLIED) > 0 && (outcome & DUPLICATE) > 0)
      throw new WireError('outcome must not be applied and a duplicate');
    const isSwitched = (outcome & SWITCHED) > 0;
    if (!isSwitched && outcome >> SWITCHED_FROM_BIT > 0)
      throw new WireError('outcome must name an option only where one was put off');
    return outcome;
  });
}

/** The settings of another region that a home of milestones depends on. */
interface PeerSettings {
  readonly hasLog: boolean;
}

export function encodeSettings({ hasLog }: PeerSettings): Buffer {
  const writer = new WireWriter();
  writer.byte(hasLog ? HAS_LOG : 0);
  return writer.message();
}

/** @throws WireError if `encodeSettings` cannot have written the bytes */
export function decodeSettings(bytes: Uint8Array): PeerSettings {
  const reader = new WireReader(bytes);
  const flags = reader.byte('flags', HAS_LOG);
  reader.end();
  return { hasLog: flags === HAS_LOG };
}

export function encodePosts(posts: readonly string[]): Buffer {
  return encodeList(posts, (writer, post) => writer.text(post));
}

/** @throws WireError if `encodePosts` cannot have written the bytes */
export function decodePosts(bytes: Uint8Array): string[] {
  return decodeList(bytes, 'posts', POST_BYTES, (reader) => reader.text('post', STORED_POST_PATTERN));
}

function encodeList<T>(list: readonly T[], write: (writer: WireWriter, one: T) => void): Buffer {
  const writer = new WireWriter();
  writer.varint(list.length);
  for (const one of list) write(writer, one);
  return writer.message();
}

function decodeList<T>(bytes: Uint8Array, field: string, leastBytes: number, read: (reader: WireReader) => T): T[] {
  const reader = new WireReader(bytes);
  const list = reader.list(field, leastBytes, () => read(reader));
  reader.end();
  return list;
}
