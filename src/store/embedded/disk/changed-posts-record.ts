import type { ChangedPostsState, CopyPosition } from '../../../counters/changed-posts.js';
import type { ByteReader, ByteWriter } from './record-bytes.js';

/** The part of a bucket's change record that is on disk. */
export type StoredChangedPosts = ChangedPostsState | { readonly stoppedAtSeq: number };

const STOPPED = 0;
const RECORDING = 1;
const RECORDING_MEMBERS = 2;

export function encodeChangedPosts(stored: StoredChangedPosts, writer: ByteWriter): ByteWriter {
  if ('stoppedAtSeq' in stored) return writer.varint(STOPPED).varint(stored.stoppedAtSeq);
  const { seq, entriesUnderSeq, changedAtMs, sums, starts, recordsMembers } = stored;
  writer
    .varint(recordsMembers ? RECORDING_MEMBERS : RECORDING)
    .varint(seq)
    .varint(entriesUnderSeq)
    .varint(changedAtMs)
    .varint(sums.length);
  for (const sum of sums) writer.varint(sum);
  for (const { epoch, nonce, startSeq, startMs } of starts) {
    writer.varint(epoch).varint(nonce).varint(startSeq).varint(startMs);
  }
  return writer;
}

export function decodeChangedPosts(reader: ByteReader): StoredChangedPosts {
  const kind = reader.varint();
  if (kind === STOPPED) return { stoppedAtSeq: reader.varint() };
  const [seq, entriesUnderSeq, changedAtMs] = [reader.varint(), reader.varint(), reader.varint()];
  const sums = Array.from({ length: reader.varint() }, () => reader.varint());
  const starts = [];
  while (!reader.isAtEnd) {
    const [epoch, nonce, startSeq, startMs] = [reader.varint(), reader.varint(), reader.varint(), reader.varint()];
    starts.push({ epoch, nonce, startSeq, startMs });
  }
  // Records of milestones are final at once here.
  const provisional: [] = [];
  return { seq, entriesUnderSeq, changedAtMs, sums, starts, recordsMembers: kind === RECORDING_MEMBERS, provisional };
}

export function encodePosition({ epoch, nonce, upTo, changedAtMs }: CopyPosition, writer: ByteWriter): ByteWriter {
  return writer.varint(epoch).varint(nonce).varint(upTo).varint(changedAtMs);
}

export function decodePosition(reader: ByteReader): CopyPosition {
  const [epoch, nonce, upTo, changedAtMs] = [reader.varint(), reader.varint(), reader.varint(), reader.varint()];
  return { epoch, nonce, upTo, changedAtMs };
}
