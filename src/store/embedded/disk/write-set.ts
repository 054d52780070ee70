import { ByteWriter } from './record-bytes.js';

/** A value in memory that differs from the one on disk. */
export interface PendingWrite {
  isDirty: boolean;
  /** Adds the value to LMDB's transaction. */
  write(writer: ByteWriter): void;
}

/** The values that the open group commit has changed in memory, each once. */
export class WriteSet {
  /** Chunks that were read or created since the cache was last emptied. */
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

  /** To be called when the values are on disk. */
  commitDone(): void {
    for (const change of this.#dirty) change.isDirty = false;
    this.#dirty = [];
  }
}
