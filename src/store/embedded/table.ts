import type { Database, RootDatabase } from 'lmdb';

/**
 * Keys are binary strings (a character a byte): they serve as keys of a Map as they are, and cost on disk just their
 * bytes.
 */
const keyEncoder = {
  writeKey(key: string, target: Buffer, start: number): number {
    for (let i = 0; i < key.length; i++) target[start + i] = key.charCodeAt(i);
    return start + key.length;
  },
  readKey(source: Buffer, start: number, end: number): string {
    return source.toString('latin1', start, end);
  },
};

/**
 * One LMDB table with the writes of the open transaction before it: reads see them, the disk gets them all at once by
 * `flush`. Writes so leave the event loop for LMDB's own thread.
 */
export class Table {
  /** `null`: removed. */
  readonly #written = new Map<string, Buffer | null>();
  readonly #db: Database<Buffer, string>;

  private constructor(db: Database<Buffer, string>) {
    this.#db = db;
  }

  static open(root: RootDatabase, name: string): Table {
    // lmdb's published types leave out `keyEncoder`, which its documentation describes.
    const options = { name, encoding: 'binary', keyEncoder } as const;
    return new Table(root.openDB<Buffer, string>(options));
  }

  /** The same table without the writes: only what is committed. */
  committed(): Table {
    return new Table(this.#db);
  }

  get(key: string): Buffer | undefined {
    const written = this.#written.get(key);
    if (written !== undefined) return written ?? undefined;
    return this.#db.getBinary(key);
  }

  /** The value is the table's own from here on. */
  put(key: string, value: Buffer): void {
    this.#written.set(key, value);
  }

  remove(key: string): void {
    this.#written.set(key, null);
  }

  /** Committed keys from `start` to before `end`, in order. */
  keys(start: string, end: string, limit: number): string[] {
    return [...this.#db.getKeys({ start, end, limit })];
  }

  /** Hands the writes to the transaction that is being built. */
  flush(): void {
    for (const [key, value] of this.#written) {
      if (value === null) void this.#db.remove(key);
      else void this.#db.put(key, value);
    }
  }

  /** Forgets the writes: they are on disk, or they are void. */
  settle(): void {
    this.#written.clear();
  }

  clear(): void {
    this.#db.clearSync();
  }
}
