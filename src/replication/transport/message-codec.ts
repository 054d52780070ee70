import { STORED_POST_PATTERN } from '../../counters/ids.js';
import type { DeltaAck } from '../../counters/replication/delta.js';
import type { BucketDigest, Difference } from './peer.js';
import { WireReader, WireWriter } from './wire-format.js';

/*
 * What regions tell each other besides shipments, written as in delta-codec.ts:
 *
 *     receipts       (bucket · 16 x rejected for entries + 8 x rejected as ahead + 4 x told + 2 x filling + refused (a byte) · epoch · nonce · upTo · epoch and nonce of the receiver)[]
 *     digests        (bucket · before · leaf[] (4 bytes each))[]
 *     differences    (bucket · leaf[])[]
 *     posts          (length, ASCII)[]
 */
const REFUSED = 1;
const FILLING = 2;
const TOLD = 4;
const AHEAD = 8;
const ENTRIES = 16;

/** What each has at least, in bytes: their number is held against what has come. */
const RECEIPT_BYTES = 7;
const DIGEST_BYTES = 3;
const LEAF_BYTES = 4;
const DIFFERENCE_BYTES = 2;
const POST_BYTES = 2;

export function encodeAcks(receipts: readonly DeltaAck[]): Buffer {
  return encodeList(
    receipts,
    (
      writer,
      {
        bucket,
        incarnationRejected: refused,
        backfilling: filling,
        fullySynced: told,
        epoch,
        nonce,
        upTo,
        receiver,
        rejection,
      },
    ) => {
      writer.varint(bucket);
      const rejected = rejection === undefined ? 0 : rejection === 'ahead' ? AHEAD : ENTRIES;
      writer.byte((refused ? REFUSED : 0) | (filling ? FILLING : 0) | (told ? TOLD : 0) | rejected);
      writer.incarnation({ epoch, nonce });
      writer.varint(upTo);
      writer.incarnation(receiver);
    },
  );
}

/** @throws WireError for anything else than what `encodeAcks` makes */
export function decodeAcks(bytes: Uint8Array): DeltaAck[] {
  return decodeList(bytes, 'receipts', RECEIPT_BYTES, (reader) => {
    const bucket = reader.varint('bucket');
    const flags = reader.byte('refused', REFUSED | FILLING | TOLD | AHEAD | ENTRIES);
    const life = reader.incarnation('life');
    const upTo = reader.varint('up to');
    const receiver = reader.incarnation('receiver');
    const [incarnationRejected, backfilling, fullySynced] = [REFUSED, FILLING, TOLD].map(
      (flag) => (flags & flag) > 0,
    ) as [boolean, boolean, boolean];
    const receipt = { bucket, incarnationRejected, backfilling, fullySynced, ...life, upTo, receiver };
    const rejected = flags & (AHEAD | ENTRIES);
    return rejected === 0 ? receipt : { ...receipt, rejection: rejected === AHEAD ? 'ahead' : 'entries' };
  });
}

export function encodeDigests(digests: readonly BucketDigest[]): Buffer {
  return encodeList(digests, (writer, { bucket, beforeMs, leaves }) => {
    writer.varint(bucket);
    writer.varint(beforeMs);
    writer.varint(leaves.length);
    for (const leaf of leaves) writer.unsigned32(leaf);
  });
}

/** @throws WireError for anything else than what `encodeDigests` makes */
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

/** @throws WireError for anything else than what `encodeDifferences` makes */
export function decodeDifferences(bytes: Uint8Array): Difference[] {
  return decodeList(bytes, 'differences', DIFFERENCE_BYTES, (reader) => {
    return { bucket: reader.varint('bucket'), leaves: reader.list('leaves', 1, () => reader.varint('leaf')) };
  });
}

export function encodePosts(posts: readonly string[]): Buffer {
  return encodeList(posts, (writer, post) => writer.text(post));
}

/** @throws WireError for anything else than what `encodePosts` makes */
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
