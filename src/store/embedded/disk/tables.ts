import type { LmdbTable } from './lmdb-table.js';

/** The tables of a data directory. A post belongs to one bucket, so only what has no post carries the bucket's number. */
export interface LmdbTables {
  /** post → PostRecord */
  readonly posts: LmdbTable;
  /** metric, post, chunk number → a chunk of members */
  readonly members: LmdbTable;
  /** bucket, generation, chunk number → a chunk of sessions with their last seqs */
  readonly marks: LmdbTable;
  /** bucket → its mark generation */
  readonly generations: LmdbTable;
  /** bucket, incarnation → Fence. Of this process only: emptied at boot */
  readonly fences: LmdbTable;
  /** metric, post, chunk number → a chunk of registers */
  readonly registers: LmdbTable;
  /** bucket, `s` or `c` → its dealings with other regions, as JSON; and of them the clock alone, which each batch changes */
  readonly regional: LmdbTable;
}
