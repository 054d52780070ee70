import type { Key64 } from '../../counters/ids.js';
import type { Chunks } from './disk/chunks.js';

/** Mean marks a chunk: 960 bytes, so that few grow over what LMDB keeps within a page, 2 KB, before they are split. */
const MARKS_CHUNK_MEAN = 64;

/** How many chunks hold this many marks of a generation. */
export function chunksFor(marks: number): number {
  return Math.max(1, Math.ceil(marks / MARKS_CHUNK_MEAN));
}

/** The session's number in a generation that has this many marks. */
export function numberIn(chunks: Chunks, marks: number, session: Key64): number | undefined {
  if (marks === 0) return undefined;
  const { entries } = chunks.chunkFor(session, chunksFor(marks));
  const index = entries.indexOf(session);
  return index >= 0 ? entries.numberAt(index) : undefined;
}
