import { readSync } from 'node:fs';

export const HEADER_BYTES = 24;
const TREE_BYTES = 48;
const BRANCH = 0x01;
const LEAF = 0x02;
const OVERFLOW = 0x04;
/** The flags that distinguish kinds of pages. LMDB uses the others only in memory. */
const KINDS = 0x6f;
const NODE_HEADER_BYTES = 8;
const NODE_IS_LARGE = 0x01;
const NODE_IS_TREE = 0x02;
const LARGE_BYTES = 24;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;
/** LMDB's own limit (CURSOR_STACK), for a tree within the tree of tables. */
const DEPTH_MAX = 64;

/** A page on the path from the root to the page that is visited. */
interface Level {
  readonly page: Buffer;
  readonly number: number;
  /** The transaction that wrote it. */
  readonly transaction: bigint;
}

interface Tree {
  readonly depth: number;
  readonly isFreeList: boolean;
  entries: number;
}

/** The bytes of a key in its page. */
interface Key {
  readonly page: Buffer;
  readonly start: number;
  readonly end: number;
}

export interface DataFile {
  readonly fd: number;
  readonly pageBytes: number;
  /** Whole pages in the file. */
  readonly pages: number;
  /** The number of pages in the header. The last ones may be free and missing in the file. */
  readonly pagesCounted: number;
}

/**
 * Visits every page in use and checks everything that LMDB trusts: numbers, kinds, bounds and order of keys, that no page is used
 * twice, or used and free. A page of a later transaction than its parent's was overwritten after the parent was copied: so a copy of a
 * running store is recognized. The layout (lmdb's mdb.c, data version 2), as far as it is read:
 *
 *     page:   number (0) 8   transaction (8) 8   flags (18) 2   end of offsets (20) 2, start of nodes (22) 2, both from 24 on;
 *             or, if it is the first of a large value, its pages (20) 4   offsets of nodes (24) 2 each
 *     node:   data bytes (0) 4, or child page (0) 6   flags (4) 2   key bytes (6) 2   key (8)   data
 *     large:  first page (0) 8   transaction (8) 8   pages (16) 8
 *     tree:   depth (6) 2   entries (32) 8   root page (40) 8
 *     free:   a count, then as many numbers of 8 bytes: a page; 0; or less than 0: pages from the number that follows
 */
export class PageWalk {
  readonly #used: Uint8Array;
  readonly #free: Uint8Array;
  readonly #buffers: Buffer[] = [];
  #level = 0;

  constructor(private readonly file: DataFile) {
    this.#used = new Uint8Array(Math.ceil(file.pages / 8));
    this.#free = new Uint8Array(this.#used.length);
  }

  /**
   * @param tree its description in a header or a node
   * @throws Error that says what is wrong
   */
  visitTree(tree: Buffer, transaction: bigint, isFreeList = false): void {
    const root = tree.readBigUInt64LE(40);
    const entries = Number(tree.readBigUInt64LE(32));
    const visited: Tree = { depth: tree.readUInt16LE(6), isFreeList, entries: 0 };
    if (root !== NO_PAGE) this.#visitPage(visited, Number(root), 1, transaction, null, null);
    if (visited.entries !== entries) damaged(`a table has ${visited.entries} entries and counts ${entries}`);
  }

  /** To be called when all trees were visited. */
  checkFree(): void {
    for (const [index, bits] of this.#used.entries()) {
      if ((bits & this.#free[index]!) !== 0) damaged(`a page near ${8 * index} is in use and listed as free`);
    }
  }

  #visitPage(tree: Tree, number: number, depth: number, newest: bigint, lower: Key | null, upper: Key | null): void {
    this.#use(number, 1);
    if (this.#level === DEPTH_MAX) damaged('a tree is too deep');
    const page = (this.#buffers[this.#level++] ??= Buffer.allocUnsafe(this.file.pageBytes));
    readAt(this.file.fd, number * this.file.pageBytes, page);
    const level = { page, number, transaction: transactionOf(page, number, newest) };
    const isLeaf = depth === tree.depth;
    if ((page.readUInt16LE(18) & KINDS) !== (isLeaf ? LEAF : BRANCH)) otherKind(number);
    const end = page.readUInt16LE(20);
    const start = page.readUInt16LE(22);
    if (end === 0 || end % 2 !== 0 || end > start || start > page.length - HEADER_BYTES) outOfBounds(level);
    if (isLeaf) this.#visitLeaf(tree, level, end >> 1, lower, upper);
    else this.#visitBranch(tree, level, end >> 1, depth, lower, upper);
    this.#level -= 1;
  }

  #visitBranch(tree: Tree, level: Level, nodes: number, depth: number, lower: Key | null, upper: Key | null): void {
    let from = lower;
    for (let i = 0; i < nodes; i++) {
      // The first node has no key: its range begins at the key in its parent.
      const to = i + 1 < nodes ? keyOf(level, i + 1) : upper;
      if (from !== null && to !== null && order(tree, from, to) >= 0) outOfOrder(level);
      const child = level.page.readUIntLE(nodeAt(level, i), 6);
      this.#visitPage(tree, child, depth + 1, level.transaction, from, to);
      from = to;
    }
  }

  #visitLeaf(tree: Tree, level: Level, nodes: number, lower: Key | null, upper: Key | null): void {
    let before: Key | null = null;
    for (let i = 0; i < nodes; i++) {
      const key = keyOf(level, i);
      if (before !== null && order(tree, before, key) >= 0) outOfOrder(level);
      if (before === null && lower !== null && order(tree, lower, key) > 0) outOfOrder(level);
      before = key;
      this.#visitValue(tree, level, nodeAt(level, i), key.end);
    }
    if (before !== null && upper !== null && order(tree, before, upper) >= 0) outOfOrder(level);
    tree.entries += nodes;
  }

  #visitValue(tree: Tree, level: Level, node: number, at: number): void {
    const { page, number } = level;
    const bytes = page.readUInt32LE(node);
    const flags = page.readUInt16LE(node + 4);
    const isLarge = flags === NODE_IS_LARGE;
    const isTree = flags === NODE_IS_TREE;
    if (at + (isLarge ? LARGE_BYTES : bytes) > page.length) outOfBounds(level);
    if (flags !== 0 && !isLarge && !(isTree && bytes === TREE_BYTES))
      damaged(`page ${number} has a value of no known kind`);
    if (isTree) this.visitTree(page.subarray(at, at + TREE_BYTES), level.transaction);
    else if (isLarge) this.#visitLarge(tree, level, at, bytes);
    else if (tree.isFreeList) this.#listFree(page.subarray(at, at + bytes));
  }

  #visitLarge(tree: Tree, { page, transaction }: Level, at: number, bytes: number): void {
    const { fd, pageBytes } = this.file;
    const first = Number(page.readBigUInt64LE(at));
    const pages = Number(page.readBigUInt64LE(at + 16));
    if (pages < Math.ceil((HEADER_BYTES + bytes) / pageBytes)) damaged(`the value at page ${first} has too few pages`);
    this.#use(first, pages);
    const value = Buffer.allocUnsafe(HEADER_BYTES + (tree.isFreeList ? bytes : 0));
    readAt(fd, first * pageBytes, value);
    transactionOf(value, first, transaction);
    if ((value.readUInt16LE(18) & KINDS) !== OVERFLOW || value.readUInt32LE(20) !== pages) otherKind(first);
    if (tree.isFreeList) this.#listFree(value.subarray(HEADER_BYTES));
  }

  #listFree(list: Buffer): void {
    const count = list.length < 8 ? Infinity : Number(list.readBigUInt64LE(0));
    if (8 * (count + 1) > list.length) damaged('the list of free pages is longer than its record');
    for (let i = 1; i <= count; i++) {
      const entry = Number(list.readBigInt64LE(8 * i));
      if (entry > 0) this.#setFree(entry, 1);
      else if (entry < 0 && i < count) this.#setFree(Number(list.readBigInt64LE(8 * ++i)), -entry);
    }
  }

  #setFree(from: number, count: number): void {
    if (from < 2 || from + count > this.file.pagesCounted) damaged('pages are listed as free that are none');
    const end = Math.min(from + count, this.file.pages);
    for (let number = from; number < end; number++) this.#free[number >> 3]! |= 1 << (number & 7);
  }

  #use(from: number, count: number): void {
    if (from + count > this.file.pages) throw new Error('was cut off: pages in use are missing at its end');
    if (from < 2 || from + count > this.file.pagesCounted) damaged(`page ${from} is none of a table`);
    for (let number = from; number < from + count; number++) {
      const bit = 1 << (number & 7);
      if ((this.#used[number >> 3]! & bit) !== 0) damaged(`page ${number} is used twice`);
      this.#used[number >> 3]! |= bit;
    }
  }
}

/** @param newest the transaction of the page that refers to this one: it was written with it or later */
function transactionOf(page: Buffer, number: number, newest: bigint): bigint {
  if (page.readBigUInt64LE(0) !== BigInt(number)) damaged(`page ${number} is another one`);
  const transaction = page.readBigUInt64LE(8);
  if (transaction > newest) damaged(`page ${number} was written later than the page that refers to it`);
  return transaction;
}

function nodeAt({ page }: Level, index: number): number {
  return HEADER_BYTES + page.readUInt16LE(HEADER_BYTES + 2 * index);
}

function keyOf(level: Level, index: number): Key {
  const { page } = level;
  const at = nodeAt(level, index);
  const start = at + NODE_HEADER_BYTES;
  if (at < HEADER_BYTES + page.readUInt16LE(22) || start > page.length) outOfBounds(level);
  const end = start + page.readUInt16LE(at + 6);
  if (end > page.length) outOfBounds(level);
  return { page, start, end };
}

/**
 * Compares keys as sort functions do. Keys one of which begins with the other count as ordered, because LMDB's binding has no reliable
 * order of them.
 */
function order(tree: Tree, a: Key, b: Key): number {
  const [aBytes, bBytes] = [a.end - a.start, b.end - b.start];
  if (tree.isFreeList) {
    if (aBytes !== 8 || bBytes !== 8) damaged('the list of free pages has a key of another length');
    const [aNumber, bNumber] = [a.page.readBigUInt64LE(a.start), b.page.readBigUInt64LE(b.start)];
    return aNumber < bNumber ? -1 : aNumber > bNumber ? 1 : 0;
  }
  const common = Math.min(aBytes, bBytes);
  const found = a.page.compare(b.page, b.start, b.start + common, a.start, a.start + common);
  return found === 0 && aBytes !== bBytes ? -1 : found;
}

function readAt(fd: number, position: number, into: Buffer): void {
  if (readSync(fd, into, 0, into.length, position) < into.length) throw new Error('was cut off');
}

function outOfBounds({ number }: Level): never {
  return damaged(`something in page ${number} lies outside of it`);
}

function outOfOrder({ number }: Level): never {
  return damaged(`keys in page ${number} are not in order`);
}

function otherKind(number: number): never {
  return damaged(`page ${number} is of another kind`);
}

/** The message helps to examine the file. The operator has to do the same in every case. */
function damaged(what: string): never {
  throw new RangeError(what);
}
