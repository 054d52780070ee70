import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { tryLock } from 'fs-native-extensions';
import type { RowEncoder } from '../count-row.js';
import { type BucketWrite, SinkError } from '../sink.js';
import type { PostReceiver } from '../stored-positions.js';
import { NumberedFiles } from './numbered-files.js';

/** Posts and their counts are the owner's affair. */
const FILE_MODE = 0o600;
const NEWLINE = 0x0a;
/** A retry cannot fix these. */
const CONFIGURATION_ERRORS: ReadonlySet<string> = new Set([
  ...['EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP', 'ENAMETOOLONG', 'ENXIO'],
]);

export interface NdjsonFileOptions {
  readonly name: string;
  readonly path: string;
  readonly rows: RowEncoder;
  /** A file that would become larger gets a number, and a new one begins. */
  readonly bytesMax: number;
}

/**
 * Appends rows and milestones to a file, one a line. The file is opened for each write, so that it may be moved away or change hands between two writes.
 * A line that a crash or a full disk has cut off is ended, not removed: programs that follow the file have read its beginning.
 */
export class NdjsonFile implements PostReceiver {
  readonly #full: NumberedFiles;
  /** Whether rows were written, so there has to be a file. */
  #isBegun = false;

  constructor(private readonly options: NdjsonFileOptions) {
    this.#full = new NumberedFiles(options.path);
  }

  get name(): string {
    return this.options.name;
  }

  open(): Promise<boolean> {
    return withSinkErrors(async () => (this.#isBegun = await this.#hasRows()));
  }

  /** Removing all files is the way to get all posts again, also while rows are written. */
  async send(writes: readonly BucketWrite[]): Promise<boolean> {
    const { rows } = this.options;
    const lines = writes.flatMap(({ posts, milestones }) => [
      ...posts.map((post) => rows.encode(post)),
      ...milestones.map((milestone) => rows.encodeMilestoneLine(milestone)),
    ]);
    const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
    return withSinkErrors(() => this.#append(bytes));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #hasRows(): Promise<boolean> {
    const found = await this.#stat();
    return (found !== null && found.size > 0) || (await this.#full.exist());
  }

  /** @returns false: the file was removed */
  async #append(lines: Buffer): Promise<boolean> {
    const file = await this.#openLocked();
    try {
      const { size, ino } = await file.stat();
      if (size === 0 && this.#isBegun && !(await this.#full.exist())) return false;
      if (size > 0 && size + lines.length > this.options.bytesMax) {
        await this.#full.add();
        return await this.#append(lines);
      }
      if (size > 0 && !(await endsWithNewline(file, size))) await file.appendFile('\n');
      await file.appendFile(lines);
      await file.sync();
      if (size === 0) await syncDirectory(this.options.path);
      this.#isBegun = true;
      return (await this.#stat())?.ino === ino;
    } finally {
      await file.close();
    }
  }

  /** Only one process appends at a time, even if another one still believes that it has the lease. */
  async #openLocked(): Promise<FileHandle> {
    await this.#stat();
    const file = await open(this.options.path, 'a+', FILE_MODE);
    try {
      const { ino } = await file.stat();
      const isAlone = tryLock(file.fd) && (await this.#stat())?.ino === ino;
      if (!isAlone) throw new SinkError('another process writes to the file', false);
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** @returns `null` where nothing is */
  async #stat(): Promise<{ readonly ino: number; readonly size: number } | null> {
    const found = await stat(this.options.path).catch((error: unknown) => {
      if (readCode(error) === 'ENOENT') return null;
      throw error;
    });
    // Opening a pipe would wait for a process at its other end.
    if (found?.isFile() === false)
      throw new SinkError('is not a regular file; name one, or a path where nothing is', true);
    return found;
  }
}

async function endsWithNewline(file: FileHandle, size: number): Promise<boolean> {
  const { buffer } = await file.read({ buffer: Buffer.alloc(1), position: size - 1 });
  return buffer[0] === NEWLINE;
}

/** A new file is durable when its directory is. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function withSinkErrors<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof SinkError) throw error;
    const isConfiguration = CONFIGURATION_ERRORS.has(readCode(error) ?? '');
    const advice = isConfiguration ? '; the gateway needs a directory that exists and that it may write to' : '';
    throw new SinkError(`cannot be written: ${(error as Error).message}${advice}`, isConfiguration, { cause: error });
  }
}

function readCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
