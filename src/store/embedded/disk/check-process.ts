import { join } from 'node:path';
import process from 'node:process';
import { open, type RootDatabase } from 'lmdb';
import { ByteReader } from './record-bytes.js';
import { FORMAT, type Meta, openMetaTable } from './data-directory.js';
import { ADVICE, checkDataFile, DAMAGED } from './lmdb-file-check.js';
import { DATA_FILE } from './directory-files.js';
import { readCompressed } from './prefix-compression.js';
import { KEY64_BYTES } from './sorted-key-array.js';
import { decodePost } from './post-record.js';
import { STATE_SUFFIX } from './replication-record.js';
import { END_OF_KEYS, LmdbTable } from './lmdb-table.js';
import type { LmdbTables } from './tables.js';

/**
 * A process of its own, started by directory-check.ts: reads the data file of the directory that it is given as LMDB does, and
 * may die of it. It ends with exit code 1 and one line on stdout if the file is damaged.
 */

/** Records decoded in each table; of the rest only the pages are looked at. They take some seconds. */
const RECORDS_MAX = 200_000;
const RECORDS_AT_ONCE = 1_000;

type Check = (key: string, value: Buffer) => void;

function checkRecords(root: RootDatabase): void {
  const text = openMetaTable(root).get('meta');
  if (text === undefined) return;
  const { format, replicas } = JSON.parse(text) as Meta;
  // The gateway says what to do about another format.
  if (format !== FORMAT) return;
  const checks: Partial<Record<keyof LmdbTables, Check>> = {
    posts: (_key, value) => void decodePost(value, replicas),
    members: (_key, value) => {
      if (value.length % KEY64_BYTES !== 0) throw new RangeError('a chunk of members ends within one');
    },
    marks: (_key, value) => void readCompressed(value),
    registers: (_key, value) => void readCompressed(value),
    generations: (_key, value) => {
      const reader = new ByteReader(value);
      for (let i = 0; i < 4; i++) reader.varint();
    },
    regional: (key, value) => {
      if (key.endsWith(STATE_SUFFIX)) JSON.parse(value.toString());
    },
  };
  for (const [name, check] of Object.entries(checks)) checkTable(root, name, check);
}

function checkTable(root: RootDatabase, name: string, check: Check): void {
  const table = new LmdbTable(root, name);
  let seen = 0;
  let keys: string[] = [];
  do {
    keys = table.keys(keys.length === 0 ? '' : `${keys.at(-1)!}\0`, END_OF_KEYS, RECORDS_AT_ONCE);
    for (const key of keys) {
      const value = table.get(key);
      if (value === undefined) throw new RangeError(`the table of ${name} lacks a key that it has`);
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

// What LMDB makes here is for the owner alone.
process.umask(0o077);
try {
  await checkFile(join(process.argv[2]!, DATA_FILE));
} catch (error) {
  process.stdout.write((error as Error).message);
  process.exitCode = 1;
}
