import { closeSync, existsSync, mkdirSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { tryLock } from 'fs-native-extensions';
import { open, type RootDatabase } from 'lmdb';
import type { Replica } from '../../counters/pn-counter.js';
import { checkDataFile } from './data-file.js';
import type { Tables } from './records.js';
import { Table } from './table.js';

const FORMAT = 2;

/** What a data directory was made with. It stays so for the life of the data. */
interface Meta {
  readonly format: number;
  readonly buckets: number;
  /** As in `METRICS`; the records hold counts by its order, so it may only be added to. */
  readonly metrics: string;
  /** Device, inode and time of birth of the data file: one that was copied, or came from a backup, has others. */
  readonly place: string;
  /** Every life of every region that wrote here; records refer to them by index. The last is this one's. */
  readonly replicas: readonly Replica[];
}

export interface DataDirectoryOptions {
  /** DATA_DIR */
  readonly path: string;
  readonly buckets: number;
  /** As in `METRICS`. */
  readonly metrics: string;
  readonly region: string;
  /** An unsigned 32-bit random number. */
  readonly nonce: () => number;
}

/**
 * An LMDB environment that belongs to one process: a lock file is held by the kernel until the process ends, however it
 * ends.
 */
export class DataDirectory {
  #root!: RootDatabase;
  #tables!: Tables;

  private constructor(
    private readonly path: string,
    root: RootDatabase,
    readonly replicas: readonly Replica[],
    private readonly lock: number,
  ) {
    this.#use(root);
  }

  /** @throws Error of one line that says what is wrong with the directory and what would be right. */
  static open(options: DataDirectoryOptions): DataDirectory {
    const { path } = options;
    let lock: number | undefined;
    let root: RootDatabase | undefined;
    try {
      mkdirSync(path, { recursive: true });
      lock = openSync(join(path, 'lock'), 'a+');
      if (!tryLock(lock)) throw new Error('it is in use by another process; give each gateway a directory of its own');
      root = openRoot(path);
      const { replicas } = adopt(root, options);
      const directory = new DataDirectory(path, root, replicas, lock);
      directory.#tables.fences.clear();
      return directory;
    } catch (error) {
      void root?.close();
      if (lock !== undefined) closeSync(lock);
      throw errorAt(path, error);
    }
  }

  /** Others after `recover`. */
  get tables(): Tables {
    return this.#tables;
  }

  /** Commits what `write` puts into the tables, synced to disk. Rejects with nothing of it written. */
  async commit(write: () => void): Promise<void> {
    try {
      await this.#root.batch(write);
    } catch (error) {
      // lmdb rejects with an error that says nothing but carries a promise, rejected with the reason.
      const { commitError } = error as { commitError?: Promise<never> };
      await commitError?.catch((reason: unknown) => {
        throw errorAt(this.path, reason);
      });
      throw errorAt(this.path, error);
    }
  }

  /**
   * To be called after a failed commit. After most failures LMDB goes on; but once the write of its header has failed
   * it refuses every read, and its binding would wait for a write for ever, until the file is opened anew.
   */
  async recover(): Promise<void> {
    try {
      this.#root.resetReadTxn();
      this.#root.doesExist('meta');
    } catch {
      await this.#root.close();
      this.#use(openRoot(this.path));
    }
  }

  async close(): Promise<void> {
    await this.#root.close();
    closeSync(this.lock);
  }

  #use(root: RootDatabase): void {
    this.#root = root;
    this.#tables = {
      posts: new Table(root, 'posts'),
      members: new Table(root, 'members'),
      marks: new Table(root, 'marks'),
      generations: new Table(root, 'generations'),
      fences: new Table(root, 'fences'),
    };
  }
}

function errorAt(path: string, error: unknown): Error {
  return new Error(`DATA_DIR ${path}: ${(error as Error).message}`, { cause: error });
}

function openRoot(directory: string): RootDatabase {
  const path = join(directory, 'counters.mdb');
  if (existsSync(path)) checkDataFile(path);
  return open({
    path,
    noSubdir: true,
    maxDbs: 8,
    // A commit resolves when it is synced, not before: an acknowledgement follows from it.
    overlappingSync: false,
    // Batches are given whole; nothing else may join their transaction.
    eventTurnBatching: false,
  });
}

/** Checks what the directory was made with, makes it if it is new, and starts a new epoch if it came from a copy. */
function adopt(root: RootDatabase, options: DataDirectoryOptions): Meta {
  const db = root.openDB<string, string>({ name: 'meta', encoding: 'string' });
  const { dev, ino, birthtimeNs } = statSync(join(options.path, 'counters.mdb'), { bigint: true });
  const place = `${dev}:${ino}:${birthtimeNs}`;
  const text = db.get('meta');
  const known = text === undefined ? undefined : (JSON.parse(text) as Meta);
  if (known !== undefined) check(known, options);

  const replicas = [...(known?.replicas ?? [])];
  const last = replicas.at(-1);
  if (last === undefined || known?.place !== place || last.region !== options.region) {
    replicas.push({ region: options.region, epoch: (last?.epoch ?? 0) + 1, nonce: options.nonce() });
  }
  const meta = { format: FORMAT, buckets: options.buckets, metrics: options.metrics, place, replicas };
  if (JSON.stringify(meta) !== text) db.putSync('meta', JSON.stringify(meta));
  return meta;
}

function check(known: Meta, { buckets, metrics }: DataDirectoryOptions): void {
  if (known.format !== FORMAT) {
    throw new Error(
      `its format is ${known.format}, this program reads format ${FORMAT}; use the version that wrote it`,
    );
  }
  if (known.buckets !== buckets) throw new Error(`it was made with BUCKETS=${known.buckets}, which cannot be changed`);
  if (!`${metrics},`.startsWith(`${known.metrics},`)) {
    throw new Error(`it was made with METRICS=${known.metrics}; new metrics may only be added at the end`);
  }
}
