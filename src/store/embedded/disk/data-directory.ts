import { closeSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import type { ActorKeys } from '../../../counters/ids.js';
import { INCARNATIONS_MAX, UNNAMED_REGION, type RegionIncarnation } from '../../../counters/pn-counter.js';
import { checkDataFile } from './lmdb-file-check.js';
import {
  DATA_FILE,
  isUnchangedSinceClose,
  lockDirectory,
  markClosed,
  markOpen,
  readFileId,
  withPrivateFiles,
} from './directory-files.js';
import { LmdbTable } from './lmdb-table.js';
import type { LmdbTables } from './tables.js';

/** 4: keys of actors and sessions are made otherwise than in 3. */
export const FORMAT = 4;

/** What a data directory was made with. It stays so for the life of the data. */
export interface Meta {
  readonly format: number;
  readonly buckets: number;
  readonly actorKeys: ActorKeys;
  /** As in `METRICS`; the records hold counts by its order, so it may only be added to. */
  readonly metrics: string;
  /** Device, inode and time of birth of the data file: one that was copied, or came from a backup, has others. */
  readonly place: string;
  /** Every life of every region whose counts are here; records refer to them by index. The own region's last one counts now. */
  readonly replicas: readonly RegionIncarnation[];
}

export interface DataDirectoryOptions {
  /** DATA_DIR */
  readonly path: string;
  readonly buckets: number;
  readonly actorKeys: ActorKeys;
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
  #tables!: LmdbTables;
  #metaTable!: Database<string, string>;
  #meta: Meta;
  /** Whether the last commit went through: after one that failed the next boot checks the data file. */
  #isSound = true;
  #own: RegionIncarnation | null = null;
  /** What the disk has of `#meta`. */
  #written: Meta;
  /** `#meta.replicas` by their names. */
  #lives: Map<string, RegionIncarnation>;

  private constructor(
    private readonly options: DataDirectoryOptions,
    root: RootDatabase,
    meta: Meta,
    /** Whether a life began when it was opened: what the one before did last may be missing. */
    readonly isNewIncarnation: boolean,
    private readonly lock: number,
  ) {
    this.#meta = meta;
    this.#written = meta;
    this.#lives = livesIn(meta);
    this.#use(root);
  }

  /** @throws Error of one line that says what is wrong with the directory and what would be right. */
  static open(options: DataDirectoryOptions): DataDirectory {
    const { path } = options;
    let lock: number | undefined;
    let root: RootDatabase | undefined;
    try {
      lock = lockDirectory(path);
      if (!isUnchangedSinceClose(path)) checkFile(path);
      markOpen(path);
      root = openRoot(path);
      const { meta, isNewLife } = adopt(root, options);
      const directory = new DataDirectory(options, root, meta, isNewLife, lock);
      directory.#tables.fences.clear();
      return directory;
    } catch (error) {
      void root?.close();
      if (lock !== undefined) closeSync(lock);
      throw dataDirectoryError(path, error);
    }
  }

  get replicas(): readonly RegionIncarnation[] {
    return this.#meta.replicas;
  }

  /** The own region's present life. */
  get replica(): RegionIncarnation {
    this.#own ??= this.replicas.findLast(({ region }) => region === this.options.region)!;
    return this.#own;
  }

  /**
   * Lives as records refer to them, by a look-up each; those that are new here are written down by the next commit. A life of the own
   * region that did not begin here is not: no record refers to it, and the last one that is written down is the one that counts.
   * @throws Error, with none of them taken, if more lives of other regions than LIVES_MAX would be known
   */
  registerIncarnations(lives: readonly RegionIncarnation[]): RegionIncarnation[] {
    const added = new Map<string, RegionIncarnation>();
    const known = lives.map((life) => {
      const name = nameOf(life);
      const found = this.#lives.get(name) ?? added.get(name);
      if (found === undefined && life.region !== this.options.region) added.set(name, life);
      return found ?? life;
    });
    if (added.size > 0) this.#add(added);
    return known;
  }

  /** Begins another life of the own region. */
  startIncarnation(epoch: number): void {
    const life = { region: this.options.region, epoch, nonce: this.options.nonce() };
    this.#add(new Map([[nameOf(life), life]]));
    this.#own = null;
  }

  /** Others after `recover`. */
  get tables(): LmdbTables {
    return this.#tables;
  }

  /** Commits what `write` puts into the tables, synced to disk. Rejects with nothing of it written. */
  async commit(write: () => void): Promise<void> {
    const meta = this.#meta;
    try {
      await this.#root.batch(() => {
        if (meta !== this.#written) void this.#metaTable.put('meta', JSON.stringify(meta));
        write();
      });
      this.#written = meta;
      this.#isSound = true;
    } catch (error) {
      this.#isSound = false;
      // lmdb rejects with an error that says nothing but carries a promise, rejected with the reason.
      const { commitError } = error as { commitError?: Promise<never> };
      await commitError?.catch((reason: unknown) => {
        throw dataDirectoryError(this.options.path, reason);
      });
      throw dataDirectoryError(this.options.path, error);
    }
  }

  /**
   * To be called after a failed commit. After most failures LMDB goes on; but once the write of its header has failed
   * it refuses every read, and its binding would wait for a write for ever, until the file is opened again.
   */
  async recover(): Promise<void> {
    this.#meta = this.#written;
    this.#lives = livesIn(this.#meta);
    this.#own = null;
    try {
      this.#root.resetReadTxn();
      this.#root.doesExist('meta');
    } catch {
      await this.#root.close();
      checkFile(this.options.path);
      this.#use(openRoot(this.options.path));
    }
  }

  async close(): Promise<void> {
    await this.#root.close();
    if (this.#isSound) markClosed(this.options.path);
    closeSync(this.lock);
  }

  #add(lives: ReadonlyMap<string, RegionIncarnation>): void {
    const replicas = [...this.replicas, ...lives.values()];
    const others = replicas.filter(({ region }) => region !== this.options.region);
    if (others.length > INCARNATIONS_MAX) {
      throw new Error(
        `${INCARNATIONS_MAX} lives of other regions are known, and ${others.at(-1)!.region} is said to have begun another`,
      );
    }
    this.#meta = { ...this.#meta, replicas };
    for (const [name, life] of lives) this.#lives.set(name, life);
  }

  #use(root: RootDatabase): void {
    this.#root = root;
    this.#metaTable = openMetaTable(root);
    this.#tables = {
      posts: new LmdbTable(root, 'posts'),
      members: new LmdbTable(root, 'members'),
      marks: new LmdbTable(root, 'marks'),
      generations: new LmdbTable(root, 'generations'),
      fences: new LmdbTable(root, 'fences'),
      registers: new LmdbTable(root, 'registers'),
      regional: new LmdbTable(root, 'regional'),
    };
  }
}

function nameOf({ region, epoch, nonce }: RegionIncarnation): string {
  return `${region} ${epoch} ${nonce}`;
}

function livesIn({ replicas }: Meta): Map<string, RegionIncarnation> {
  return new Map(replicas.map((life) => [nameOf(life), life]));
}

export function dataDirectoryError(path: string, error: unknown): Error {
  return new Error(`DATA_DIR ${path}: ${(error as Error).message}`, { cause: error });
}

function checkFile(directory: string): void {
  const path = join(directory, DATA_FILE);
  if (existsSync(path)) checkDataFile(path);
}

function openRoot(directory: string): RootDatabase {
  return withPrivateFiles(directory, () =>
    open({
      path: join(directory, DATA_FILE),
      noSubdir: true,
      maxDbs: 16,
      // A commit resolves when it is synced, not before: an acknowledgement follows from it.
      overlappingSync: false,
      // Batches are given whole; nothing else may join their transaction.
      eventTurnBatching: false,
    }),
  );
}

export function openMetaTable(root: RootDatabase): Database<string, string> {
  return root.openDB<string, string>({ name: 'meta', encoding: 'string' });
}

/** Checks what the directory was made with, makes it if it is new, and starts a new epoch if it came from a copy. */
function adopt(root: RootDatabase, options: DataDirectoryOptions): { meta: Meta; isNewLife: boolean } {
  const db = openMetaTable(root);
  const place = readFileId(options.path);
  const text = db.get('meta');
  const known = text === undefined ? undefined : (JSON.parse(text) as Meta);
  if (known !== undefined) check(known, options);

  const { region, buckets, actorKeys, metrics } = options;
  // A region without a name has no peers, so nobody knows it by that.
  const replicas = (known?.replicas ?? []).map((replica) =>
    replica.region === UNNAMED_REGION ? { ...replica, region } : replica,
  );
  const last = replicas.findLast((replica) => replica.region === region);
  const isNewLife = last === undefined || known?.place !== place;
  if (isNewLife) replicas.push({ region, epoch: (last?.epoch ?? 0) + 1, nonce: options.nonce() });
  const meta = { format: FORMAT, buckets, actorKeys, metrics, place, replicas };
  if (JSON.stringify(meta) !== text) db.putSync('meta', JSON.stringify(meta));
  return { meta, isNewLife };
}

function check(known: Meta, { buckets, actorKeys, metrics, region }: DataDirectoryOptions): void {
  if (known.format !== FORMAT) {
    throw new Error(
      `format ${known.format} is not supported (this version reads format ${FORMAT}); use the version that wrote it`,
    );
  }
  const named = known.replicas[0]?.region ?? UNNAMED_REGION;
  if (named !== UNNAMED_REGION && named !== region)
    throw new Error(`it belongs to REGION=${named}, which cannot be changed`);
  if (known.buckets !== buckets) throw new Error(`it was made with BUCKETS=${known.buckets}, which cannot be changed`);
  if (known.actorKeys !== actorKeys) {
    const made = `ACTOR_KEYS=${known.actorKeys}`;
    throw new Error(`it was made with ${made}, which cannot be changed; set ${made}`);
  }
  if (!`${metrics},`.startsWith(`${known.metrics},`)) {
    throw new Error(`it was made with METRICS=${known.metrics}; new metrics may only be added at the end`);
  }
}
