import type { Database, RootDatabase } from 'lmdb';

/** Keys are binary strings, a character a byte: a Map takes them as they are, and on disk they cost only their bytes. */
const keyEncoder = {
  writeKey(key: string, target: Buffer, start: number): number {
    for (let i = 0; i < key.length; i++) target[start + i] = key.charCodeAt(i);
    return start + key.length;
  },
  readKey(source: Buffer, start: number, end: number): string {
    return source.toString('latin1', start, end);
  },
};

/** A key after all others. */
export const END_OF_KEYS = '\u00ff';

/** One LMDB table. */
export class LmdbTable {
  readonly #db: Database<Buffer, string>;

  constructor(root: RootDatabase, name: string) {
    // lmdb's published types leave out `keyEncoder`, which its documentation describes.
    const options = { name, encoding: 'binary', keyEncoder } as const;
    this.#db = root.openDB<Buffer, string>(options);
  }

  /** Reads a committed value. @returns a copy */
  get(key: string): Buffer | undefined {
    return this.#db.getBinary(key);
  }

  /** Adds a write to the transaction that is being built. */
  put(key: string, value: Buffer): void {
    void this.#db.put(key, value);
  }

  remove(key: string): void {
    void this.#db.remove(key);
  }

  /** @returns committed keys from `start` to before `end`, in order */
  keys(start: string, end: string, limit: number): string[] {
    return [...this.#db.getKeys({ start, end, limit })];
  }

  clear(): void {
    this.#db.clearSync();
  }
}
