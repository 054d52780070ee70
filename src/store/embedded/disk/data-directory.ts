import { closeSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Database, RootDatabase } from 'lmdb';
import type { ActorKeys } from '../../../counters/ids.js';
import { INCARNATIONS_MAX, UNNAMED_REGION, type RegionIncarnation } from '../../../counters/pn-counter.js';
import { checkCompatible, decodeMeta, encodeMeta, type Meta } from './data-format.js';
import {
  DATA_FILE,
  isUnchangedSinceClose,
  lockDirectory,
  markClosed,
  markOpen,
  readFileId,
} from './directory-files.js';
import { type LmdbTables, openEnvironment, openMetaTable, openTables } from './lmdb-environment.js';
import { checkDataFile } from './lmdb-file-check.js';

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

/** An LMDB environment that belongs to one process: the kernel holds its lock file until the process ends, however it ends. */
export class DataDirectory {
  #root!: RootDatabase;
  #tables!: LmdbTables;
  #metaTable!: Database<string, string>;
  #meta: Meta;
  /** The meta data that is on disk. */
  #writtenMeta: Meta;
  /** The incarnations of the meta data by their keys. */
  #incarnations: Map<string, RegionIncarnation>;
  #own: RegionIncarnation | null = null;
  /** Whether the last commit went through: after one that failed the next boot checks the data file. */
  #isSound = true;

  private constructor(
    private readonly options: DataDirectoryOptions,
    root: RootDatabase,
    meta: Meta,
    /** Whether an incarnation began when the directory was opened: the last commits of the one before may be missing. */
    readonly isNewIncarnation: boolean,
    private readonly lock: number,
  ) {
    this.#meta = meta;
    this.#writtenMeta = meta;
    this.#incarnations = indexIncarnations(meta);
    this.#use(root);
  }

  /** @throws Error of one line that says what is wrong with the directory and what would be right */
  static open(options: DataDirectoryOptions): DataDirectory {
    const { path } = options;
    let lock: number | undefined;
    let root: RootDatabase | undefined;
    try {
      lock = lockDirectory(path);
      if (!isUnchangedSinceClose(path)) checkFile(path);
      markOpen(path);
      root = openEnvironment(path);
      const { meta, isNewIncarnation } = openOrInitialize(root, options);
      const directory = new DataDirectory(options, root, meta, isNewIncarnation, lock);
      directory.#tables.producerStates.clear();
      return directory;
    } catch (error) {
      void root?.close();
      if (lock !== undefined) closeSync(lock);
      throw dataDirectoryError(path, error);
    }
  }

  /** Every incarnation whose counts are here. Records refer to them by index. */
  get incarnations(): readonly RegionIncarnation[] {
    return this.#meta.incarnations;
  }

  /** The own region's current incarnation. */
  get incarnation(): RegionIncarnation {
    this.#own ??= this.incarnations.findLast(({ region }) => region === this.options.region)!;
    return this.#own;
  }

  /** Replaced by `recover`. */
  get tables(): LmdbTables {
    return this.#tables;
  }

  /**
   * Registers incarnations, so that records can refer to them; the next commit writes new ones. An incarnation of the own region that
   * did not begin here is not registered: no record refers to it, and the last one that is registered is the one that counts.
   * @returns the same incarnations, as the objects that are registered
   * @throws Error, with nothing registered, if there were more incarnations of other regions than INCARNATIONS_MAX
   */
  registerIncarnations(incarnations: readonly RegionIncarnation[]): RegionIncarnation[] {
    const added = new Map<string, RegionIncarnation>();
    const registered = incarnations.map((incarnation) => {
      const key = incarnationKey(incarnation);
      const found = this.#incarnations.get(key) ?? added.get(key);
      if (found === undefined && incarnation.region !== this.options.region) added.set(key, incarnation);
      return found ?? incarnation;
    });
    if (added.size > 0) this.#add(added);
    return registered;
  }

  /** Starts another incarnation of the own region. */
  startIncarnation(epoch: number): void {
    const incarnation = { region: this.options.region, epoch, nonce: this.options.nonce() };
    this.#add(new Map([[incarnationKey(incarnation), incarnation]]));
    this.#own = null;
  }

  /** Commits what `write` puts into the tables, durably. Rejects with nothing of it written. */
  async commit(write: () => void): Promise<void> {
    const meta = this.#meta;
    try {
      await this.#root.batch(() => {
        if (meta !== this.#writtenMeta) void this.#metaTable.put('meta', encodeMeta(meta));
        write();
      });
      this.#writtenMeta = meta;
      this.#isSound = true;
    } catch (error) {
      this.#isSound = false;
      // The error of lmdb gives no reason, but carries a promise that is rejected with it.
      const { commitError } = error as { commitError?: Promise<never> };
      await commitError?.catch((reason: unknown) => {
        throw dataDirectoryError(this.options.path, reason);
      });
      throw dataDirectoryError(this.options.path, error);
    }
  }

  /**
   * To be called after a failed commit. After most failures LMDB goes on. But once the write of its header has failed it rejects
   * every read, and its binding would wait for a write for ever, until the file is opened again.
   */
  async recover(): Promise<void> {
    this.#meta = this.#writtenMeta;
    this.#incarnations = indexIncarnations(this.#meta);
    this.#own = null;
    try {
      this.#root.resetReadTxn();
      this.#root.doesExist('meta');
    } catch {
      await this.#root.close();
      checkFile(this.options.path);
      this.#use(openEnvironment(this.options.path));
    }
  }

  async close(): Promise<void> {
    await this.#root.close();
    if (this.#isSound) markClosed(this.options.path);
    closeSync(this.lock);
  }

  #add(added: ReadonlyMap<string, RegionIncarnation>): void {
    const incarnations = [...this.incarnations, ...added.values()];
    const others = incarnations.filter(({ region }) => region !== this.options.region);
    if (others.length > INCARNATIONS_MAX) {
      throw new Error(
        `${INCARNATIONS_MAX} incarnations of other regions are registered, and ${others.at(-1)!.region} has started another`,
      );
    }
    this.#meta = { ...this.#meta, incarnations };
    for (const [key, incarnation] of added) this.#incarnations.set(key, incarnation);
  }

  #use(root: RootDatabase): void {
    this.#root = root;
    this.#metaTable = openMetaTable(root);
    this.#tables = openTables(root);
  }
}

function incarnationKey({ region, epoch, nonce }: RegionIncarnation): string {
  return `${region} ${epoch} ${nonce}`;
}

function indexIncarnations({ incarnations }: Meta): Map<string, RegionIncarnation> {
  return new Map(incarnations.map((incarnation) => [incarnationKey(incarnation), incarnation]));
}

export function dataDirectoryError(path: string, error: unknown): Error {
  return new Error(`DATA_DIR ${path}: ${(error as Error).message}`, { cause: error });
}

function checkFile(directory: string): void {
  const path = join(directory, DATA_FILE);
  if (existsSync(path)) checkDataFile(path);
}

/** Checks what the directory was made with, initializes it if it is new, and starts an incarnation if it came from a copy. */
function openOrInitialize(
  root: RootDatabase,
  options: DataDirectoryOptions,
): { meta: Meta; isNewIncarnation: boolean } {
  const table = openMetaTable(root);
  const fileId = readFileId(options.path);
  const text = table.get('meta');
  const stored = text === undefined ? undefined : decodeMeta(text);
  if (stored !== undefined) checkCompatible(stored, options);

  const { region, buckets, actorKeys, metrics } = options;
  // No peer has seen a region without a name under that, because it has no peers.
  const incarnations = (stored?.incarnations ?? []).map((incarnation) =>
    incarnation.region === UNNAMED_REGION ? { ...incarnation, region } : incarnation,
  );
  const last = incarnations.findLast((incarnation) => incarnation.region === region);
  const isNewIncarnation = last === undefined || stored?.fileId !== fileId;
  if (isNewIncarnation) incarnations.push({ region, epoch: (last?.epoch ?? 0) + 1, nonce: options.nonce() });
  const meta = { buckets, actorKeys, metrics, fileId, incarnations };
  const encoded = encodeMeta(meta);
  if (encoded !== text) table.putSync('meta', encoded);
  return { meta, isNewIncarnation };
}
