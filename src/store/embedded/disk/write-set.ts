import { ByteWriter } from './record-bytes.js';

/** Something in memory that differs from what is on disk. */
export interface Change {
  dirty: boolean;
  /** Puts it into LMDB's transaction. */
  write(writer: ByteWriter): void;
}

/** What the open group commit has changed in memory, each once. */
export class WriteSet {
  /** Chunks that were read or made since the cache was last emptied. */
  chunks = 0;
  readonly #writer = new ByteWriter();
  #dirty: Change[] = [];

  get none(): boolean {
    return this.#dirty.length === 0;
  }

  get all(): readonly Change[] {
    return this.#dirty;
  }

  add(change: Change): void {
    if (change.dirty) return;
    change.dirty = true;
    this.#dirty.push(change);
  }

  write(): void {
    this.#writer.reset();
    for (const change of this.#dirty) change.write(this.#writer);
  }

  /** They are on disk. */
  settle(): void {
    for (const change of this.#dirty) change.dirty = false;
    this.#dirty = [];
  }
}
