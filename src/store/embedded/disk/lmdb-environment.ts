import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { DATA_FILE, withPrivateFiles } from './directory-files.js';
import { LmdbTable } from './lmdb-table.js';

/** Marks of buckets, which expire by generations. */
export interface MarkTables {
  /** bucket, generation, chunk number → a chunk of keys with their last numbers */
  readonly marks: LmdbTable;
  /** bucket → its generation */
  readonly generations: LmdbTable;
}

/** The tables of a data directory. A post belongs to one bucket, so only keys without a post carry the bucket's number. */
export interface LmdbTables {
  /** post → PostRecord */
  readonly posts: LmdbTable;
  /** metric, post, chunk number → a chunk of members */
  readonly members: LmdbTable;
  /** The last seqs of sessions. */
  readonly sessionMarks: MarkTables;
  /** When the visits of actors were counted last. */
  readonly visitMarks: MarkTables;
  /** The last seqs of sessions that were forwarded to regions. */
  readonly forwardMarks: MarkTables;
  /** bucket, producer id → ProducerState. Of this process only: emptied at boot */
  readonly producerStates: LmdbTable;
  /** metric, post, chunk number → a chunk of registers */
  readonly registers: LmdbTable;
  /** bucket, `s` or `c` → its replication state as JSON, or only the clock, which each batch changes */
  readonly replication: LmdbTable;
  /** bucket → its change record, without the changed posts */
  readonly changeRecords: LmdbTable;
  /** name of a copy, 0, bucket → the copy's position */
  readonly positions: LmdbTable;
  /** bucket, name of a log → up to where its events are applied */
  readonly logPositions: LmdbTable;
  /** `bucket` and a bucket → how many milestones it has; `post` and a post → its milestones */
  readonly milestones: LmdbTable;
}

export function openEnvironment(directory: string): RootDatabase {
  return withPrivateFiles(directory, () =>
    open({
      path: join(directory, DATA_FILE),
      noSubdir: true,
      maxDbs: 24,
      // A commit resolves when it is durable, not before, because it is acknowledged then.
      overlappingSync: false,
      // A transaction holds one group commit; nothing else may join it.
      eventTurnBatching: false,
    }),
  );
}

/** The names of tables are part of the format on disk. */
export function openTables(root: RootDatabase): LmdbTables {
  return {
    posts: new LmdbTable(root, 'posts'),
    members: new LmdbTable(root, 'members'),
    sessionMarks: { marks: new LmdbTable(root, 'marks'), generations: new LmdbTable(root, 'generations') },
    visitMarks: { marks: new LmdbTable(root, 'visit_marks'), generations: new LmdbTable(root, 'visit_generations') },
    forwardMarks: {
      marks: new LmdbTable(root, 'forward_marks'),
      generations: new LmdbTable(root, 'forward_generations'),
    },
    producerStates: new LmdbTable(root, 'fences'),
    registers: new LmdbTable(root, 'registers'),
    replication: new LmdbTable(root, 'regional'),
    changeRecords: new LmdbTable(root, 'changes'),
    positions: new LmdbTable(root, 'positions'),
    logPositions: new LmdbTable(root, 'log_positions'),
    milestones: new LmdbTable(root, 'milestones'),
  };
}

export function openMetaTable(root: RootDatabase): Database<string, string> {
  return root.openDB<string, string>({ name: 'meta', encoding: 'string' });
}
