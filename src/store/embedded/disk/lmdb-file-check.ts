import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { type DataFile, HEADER_BYTES, PageWalk } from './lmdb-page-walk.js';

const MAGIC = 0xbeefc0de;
const VERSION = 2;
const META_BYTES = 144;

/** The probable cause of a data file that cannot be used, and what to do about it. */
export const DAMAGED = 'is damaged: it was copied while a gateway ran, or the disk failed';
export const ADVICE = 'restore it from a backup, or remove it to start from nothing (docs/operations.md)';

/**
 * Rejects a data file that would kill the process: LMDB maps the file and trusts it, so a page beyond the end raises SIGBUS, and so may
 * a damaged header or page, or a page from another time than the rest. A valid file may end before the last page that its header
 * counts, if that page is free and was never written. So every page in use is visited, which takes one to two seconds a gigabyte.
 * Values are not checked.
 *
 * The layout (lmdb's mdb.c, data version 2), little-endian, with offsets in parentheses; the rest of it is in lmdb-page-walk.ts:
 *
 *     meta, after the header of pages 0 and 1:  magic (0) 4   version (4) 4   page bytes (24) 4
 *            tree of free pages (24) 48   tree of tables (72) 48   last page (120) 8   transaction (128) 8
 *
 * @throws Error that says what is wrong with the file
 */
export function checkDataFile(path: string): void {
  const fd = openSync(path, 'r');
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error('is not a file');
    if (stat.size === 0) throw new Error('is empty');
    const metas = readMetas(fd);
    const pageBytes = pageBytesOf(metas[0]!);
    // LMDB uses the header of the later transaction.
    const meta = metas[0]!.readBigUInt64LE(128) >= metas[1]!.readBigUInt64LE(128) ? metas[0]! : metas[1]!;
    const file: DataFile = {
      fd,
      pageBytes,
      pages: Math.floor(stat.size / pageBytes),
      pagesCounted: Number(meta.readBigUInt64LE(120)) + 1,
    };
    const walk = new PageWalk(file);
    const transaction = meta.readBigUInt64LE(128);
    walk.visitTree(meta.subarray(24, 72), transaction, true);
    walk.visitTree(meta.subarray(72, 120), transaction);
    walk.checkFree();
  } catch (error) {
    const { message } = error as Error;
    const what = error instanceof RangeError ? `${DAMAGED} (${message})` : message;
    throw new Error(`its data file counters.mdb ${what}; ${ADVICE}`, { cause: error });
  } finally {
    closeSync(fd);
  }
}

function readMetas(fd: number): Buffer[] {
  const first = readAt(fd, HEADER_BYTES, META_BYTES);
  return [first, readAt(fd, pageBytesOf(first) + HEADER_BYTES, META_BYTES)].map((meta) => {
    if (meta.readUInt32LE(0) !== MAGIC || (meta.readUInt32LE(4) & 0xffff) !== VERSION) {
      throw new Error('was not written by this program, or is damaged');
    }
    return meta;
  });
}

function pageBytesOf(meta: Buffer): number {
  const bytes = meta.readUInt32LE(24);
  if (bytes < 512 || bytes > 65_536 || (bytes & (bytes - 1)) !== 0) {
    throw new Error('was not written by this program, or is damaged');
  }
  return bytes;
}

function readAt(fd: number, position: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  if (readSync(fd, buffer, 0, bytes, position) < bytes) throw new Error('was cut off');
  return buffer;
}
