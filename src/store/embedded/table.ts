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
 * `flush`. Writes so leave the event loop for LMDB's own thread. What was read or committed lately is found in memory,
 * in a third of the time: two generations, of which the older is dropped when the younger is full.
 */
export class Table {
  /** `null`: removed. */
  readonly #written = new Map<string, Buffer | null>();
  readonly #cache: Cache;
  readonly #db: Database<Buffer, string>;

  private constructor(db: Database<Buffer, string>, cache: Cache) {
    this.#db = db;
    this.#cache = cache;
  }

  /** @param cachedMax values in a generation of the cache; about 100 bytes each, and their own */
  static open(root: RootDatabase, name: string, cachedMax: number): Table {
    // lmdb's published types leave out `keyEncoder`, which its documentation describes.
    const options = { name, encoding: 'binary', keyEncoder } as const;
    return new Table(root.openDB<Buffer, string>(options), new Cache(cachedMax));
  }

  /** The same table without the writes: only what is committed. */
  committed(): Table {
    return new Table(this.#db, this.#cache);
  }

  get(key: string): Buffer | undefined {
    const written = this.#written.get(key);
    if (written !== undefined) return written ?? undefined;
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached ?? undefined;
    const value = this.#db.getBinary(key);
    this.#cache.put(key, value ?? null);
    return value;
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
  settle(committed: boolean): void {
    if (committed) for (const [key, value] of this.#written) this.#cache.put(key, value);
    this.#written.clear();
  }

  clear(): void {
    this.#db.clearSync();
    this.#cache.clear();
  }
}

/** `null` stands for a key that the table does not have. */
class Cache {
  #young = new Map<string, Buffer | null>();
  #old = new Map<string, Buffer | null>();

  constructor(private readonly max: number) {}

  get(key: string): Buffer | null | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.put(key, old);
    return old;
  }

  put(key: string, value: Buffer | null): void {
    if (this.#young.size >= this.max && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }
}
