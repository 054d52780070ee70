import { ByteWriter } from './record-bytes.js';

/** Something in memory that differs from what is on disk. */
export interface PendingWrite {
  isDirty: boolean;
  /** Puts it into LMDB's transaction. */
  write(writer: ByteWriter): void;
}

/** What the open group commit has changed in memory, each once. */
export class WriteSet {
  /** Chunks that were read or made since the cache was last emptied. */
  loadedChunks = 0;
  readonly #writer = new ByteWriter();
  #dirty: PendingWrite[] = [];

  get isEmpty(): boolean {
    return this.#dirty.length === 0;
  }

  get pending(): readonly PendingWrite[] {
    return this.#dirty;
  }

  add(change: PendingWrite): void {
    if (change.isDirty) return;
    change.isDirty = true;
    this.#dirty.push(change);
  }

  write(): void {
    this.#writer.reset();
    for (const change of this.#dirty) change.write(this.#writer);
  }

  /** They are on disk. */
  commitDone(): void {
    for (const change of this.#dirty) change.isDirty = false;
    this.#dirty = [];
  }
}
