import { join } from 'node:path';
import process from 'node:process';
import { open, type RootDatabase } from 'lmdb';
import { ByteReader } from './record-bytes.js';
import { decodeMeta, FORMAT, readFormat } from './data-format.js';
import { ADVICE, checkDataFile, DAMAGED } from './lmdb-file-check.js';
import { DATA_FILE } from './directory-files.js';
import { readCompressed } from './prefix-compression.js';
import { KEY64_BYTES } from './sorted-key-array.js';
import { decodeMilestones, POST_PREFIX } from './milestones-record.js';
import { decodePost } from './post-record.js';
import { STATE_SUFFIX } from './replication-record.js';
import { END_OF_KEYS, type LmdbTable } from './lmdb-table.js';
import { type LmdbTables, openMetaTable, openTables } from './lmdb-environment.js';

/**
 * A process of its own, started by directory-check.ts: reads the data file of the directory in its first argument as LMDB does,
 * which may kill it. It ends with exit code 1 and one line on stdout if the file is damaged.
 */

/** Records decoded in each table, which takes some seconds. Of the other records only the pages are checked. */
const RECORDS_MAX = 200_000;
const RECORDS_AT_ONCE = 1_000;

type Check = (key: string, value: Buffer) => void;

function checkRecords(root: RootDatabase): void {
  const text = openMetaTable(root).get('meta');
  if (text === undefined) return;
  // The gateway reports another format.
  if (readFormat(text) !== FORMAT) return;
  const { incarnations } = decodeMeta(text);
  const checks: Partial<Record<Exclude<keyof LmdbTables, 'sessionMarks' | 'visitMarks' | 'forwardMarks'>, Check>> = {
    posts: (_key, value) => void decodePost(value, incarnations),
    members: (_key, value) => {
      if (value.length % KEY64_BYTES !== 0) throw new RangeError('a chunk of members ends within one');
    },
    registers: (_key, value) => void readCompressed(value),
    replication: (key, value) => {
      if (key.endsWith(STATE_SUFFIX)) JSON.parse(value.toString());
    },
    milestones: (key, value) => {
      if (key.startsWith(POST_PREFIX)) decodeMilestones(value);
    },
  };
  const tables = openTables(root);
  for (const [name, check] of Object.entries(checks)) checkTable(tables[name as keyof typeof checks], name, check);
  for (const { marks, generations } of [tables.sessionMarks, tables.visitMarks, tables.forwardMarks]) {
    checkTable(marks, 'marks', (_key, value) => void readCompressed(value));
    checkTable(generations, 'generations of marks', (_key, value) => checkGeneration(value));
  }
}

function checkGeneration(value: Buffer): void {
  const reader = new ByteReader(value);
  for (let i = 0; i < 4; i++) reader.varint();
}

function checkTable(table: LmdbTable, name: string, check: Check): void {
  let seen = 0;
  let keys: string[] = [];
  do {
    keys = table.keys(keys.length === 0 ? '' : `${keys.at(-1)!}\0`, END_OF_KEYS, RECORDS_AT_ONCE);
    for (const key of keys) {
      const value = table.get(key);
      if (value === undefined) throw new RangeError(`the table of ${name} lists a key that it lacks`);
      check(key, value);
    }
    seen += keys.length;
  } while (keys.length > 0 && seen < RECORDS_MAX);
}

async function checkFile(path: string): Promise<void> {
  checkDataFile(path);
  try {
    const root = open({ path, noSubdir: true, readOnly: true, maxDbs: 16 });
    checkRecords(root);
    await root.close();
  } catch (error) {
    throw new Error(`its data file ${DATA_FILE} ${DAMAGED} (${(error as Error).message}); ${ADVICE}`, { cause: error });
  }
}

// Files that LMDB creates here are for the owner alone.
process.umask(0o077);
try {
  await checkFile(join(process.argv[2]!, DATA_FILE));
} catch (error) {
  process.stdout.write((error as Error).message);
  process.exitCode = 1;
}
