import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const MAGIC = 0xbeefc0de;
const VERSION = 2;
const HEADER_BYTES = 24;
const META_BYTES = 144;
const BRANCH = 0x01;
const NODE_IS_LARGE = 0x01;
const NODE_IS_TREE = 0x02;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;

/**
 * Refuses a data file that LMDB would die of: it maps the file and believes it, so a page beyond the end kills the
 * process (SIGBUS), and so may a header or a page that is none. A file may rightly end before the last page that its
 * header counts, if that page is free and was never written; so every page in use is visited, which takes about a
 * second a gigabyte. What stands in the values is not looked at.
 *
 * Of the layout (lmdb's mdb.c, data version 2) this reads, little-endian, the byte where it stands in parentheses:
 *
 *     page:  its number (0) 8   flags (18) 2   end of offsets (20) 2   offsets of its nodes (24) 2 each, from 24 on
 *     node:  data bytes (0) 4, or child page (0) 6   flags (4) 2   key bytes (6) 2   key (8)   data
 *     data:  the value; or its first page 8, if it is large; or a tree
 *     tree:  root page (40) 8
 *     meta, after the header of pages 0 and 1:  magic (0) 4   version (4) 4   page bytes (24) 4
 *            tree of free pages (24) 48   tree of tables (72) 48   transaction (128) 8
 *
 * @throws Error that says what is wrong with the file.
 */
export function checkDataFile(path: string): void {
  const fd = openSync(path, 'r');
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error('is not a file');
    if (stat.size === 0) throw new Error('is empty');
    const metas = readMetas(fd);
    const pageBytes = pageBytesOf(metas[0]!);
    const pages = Math.floor(stat.size / pageBytes);
    const meta = metas[0]!.readBigUInt64LE(128) > metas[1]!.readBigUInt64LE(128) ? metas[0]! : metas[1]!;
    const file = { fd, pageBytes, pages, visited: 0 };
    visitTree(file, meta.subarray(24));
    visitTree(file, meta.subarray(72));
  } catch (error) {
    const what = error instanceof RangeError ? 'is damaged' : (error as Error).message;
    const advice = 'restore it from a backup, or remove it to start from nothing';
    throw new Error(`its data file counters.mdb ${what}; ${advice}`, { cause: error });
  } finally {
    closeSync(fd);
  }
}

interface DataFile {
  readonly fd: number;
  readonly pageBytes: number;
  readonly pages: number;
  /** Damaged pages may refer to each other in a circle. */
  visited: number;
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

function visitTree(file: DataFile, tree: Buffer): void {
  const root = tree.readBigUInt64LE(40);
  if (root !== NO_PAGE) visitPage(file, Number(root));
}

function visitPage(file: DataFile, number: number): void {
  expectPages(file, number, 1);
  if (++file.visited > file.pages) throw new RangeError('pages refer to each other in a circle');
  const page = readAt(file.fd, number * file.pageBytes, file.pageBytes);
  if (Number(page.readBigUInt64LE(0)) !== number) throw new RangeError('the page of that number stands elsewhere');
  const isBranch = (page.readUInt16LE(18) & BRANCH) !== 0;
  const nodes = page.readUInt16LE(20) >> 1;
  for (let i = 0; i < nodes; i++) {
    const node = page.subarray(HEADER_BYTES + page.readUInt16LE(HEADER_BYTES + 2 * i));
    if (isBranch) visitPage(file, node.readUIntLE(0, 6));
    else visitLeaf(file, node);
  }
}

function visitLeaf(file: DataFile, node: Buffer): void {
  const flags = node.readUInt16LE(4);
  const data = node.subarray(8 + node.readUInt16LE(6));
  if ((flags & NODE_IS_TREE) !== 0) visitTree(file, data);
  if ((flags & NODE_IS_LARGE) === 0) return;
  const bytes = HEADER_BYTES + node.readUInt32LE(0);
  expectPages(file, Number(data.readBigUInt64LE(0)), Math.ceil(bytes / file.pageBytes));
}

function expectPages({ pages }: DataFile, from: number, count: number): void {
  if (from + count > pages) throw new Error('was cut off: pages in use are missing at its end');
}

function readAt(fd: number, position: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  if (readSync(fd, buffer, 0, bytes, position) < bytes) throw new Error('was cut off');
  return buffer;
}
