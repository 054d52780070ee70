import { chmodSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tryLock } from 'fs-native-extensions';

export const DATA_FILE = 'counters.mdb';
const LOCK_FILE = 'lock';
/** Exists while no gateway has the directory open, and describes the data file that the last one left. */
const CLOSED_FILE = 'closed';
export const VISITOR_SECRETS_FILE = 'visitor-secrets.json';
const FILES = [DATA_FILE, `${DATA_FILE}-lock`, LOCK_FILE, CLOSED_FILE, VISITOR_SECRETS_FILE];

/** Only the owner may read names of posts and keys of actors. */
const DIRECTORY_MODE = 0o700;
export const FILE_MODE = 0o600;
const OF_OTHERS = 0o077;

/**
 * Creates the directory if it is new, and takes its lock, which the kernel keeps until the process ends, however it ends.
 *
 * @returns the lock's file descriptor
 * @throws Error that says what is wrong with the directory
 */
export function lockDirectory(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) mkdirSync(path, { recursive: true, mode: DIRECTORY_MODE });
  else if (!stat.isDirectory()) throw new Error('it is not a directory; name one, or a path where nothing is yet');
  for (const name of FILES) {
    const file = statSync(join(path, name), { throwIfNoEntry: false });
    // Opening a pipe would wait for a process at its other end.
    if (file !== undefined && !file.isFile()) throw new Error(`its ${name} is not a file; remove it`);
  }
  const lock = openSync(join(path, LOCK_FILE), 'a+', FILE_MODE);
  if (tryLock(lock)) return lock;
  throw new Error('it is in use by another process; give each gateway a directory of its own');
}

/** Whether the data file is the one that a gateway closed here: it is no copy, and was not written to since. */
export function isUnchangedSinceClose(path: string): boolean {
  const closed = join(path, CLOSED_FILE);
  return existsSync(closed) && readFileSync(closed, 'utf8') === describeDataFile(path);
}

/** To be called when the data file is closed and intact. */
export function markClosed(path: string): void {
  try {
    writeFileSync(join(path, CLOSED_FILE), describeDataFile(path), { mode: FILE_MODE });
  } catch {
    // The disk may be full. Then the next boot checks the data file, which takes a moment longer.
  }
}

/** To be called before the data file is opened: one that is left without being closed is checked by the next boot. */
export function markOpen(path: string): void {
  rmSync(join(path, CLOSED_FILE), { force: true });
}

/** @returns device, inode and time of birth of the data file: those of a copy, or of a file from a backup, differ */
export function readFileId(path: string): string {
  const { dev, ino, birthtimeNs } = statSync(join(path, DATA_FILE), { bigint: true });
  return `${dev}:${ino}:${birthtimeNs}`;
}

/** Runs `open`, and makes the files that it creates private to the owner. Files that exist keep the mode that the operator gave them. */
export function withPrivateFiles<T>(path: string, open: () => T): T {
  const made = FILES.map((name) => join(path, name)).filter((file) => !existsSync(file));
  const opened = open();
  for (const file of made) if (existsSync(file)) chmodSync(file, FILE_MODE);
  return opened;
}

/** Whether other users of the machine may open the directory. If not, the modes of its files do not matter. */
export function isOpenToOthers(path: string): boolean {
  return (statSync(path).mode & OF_OTHERS) !== 0;
}

function describeDataFile(path: string): string {
  const { size, mtimeNs, ctimeNs } = statSync(join(path, DATA_FILE), { bigint: true });
  return `${readFileId(path)}:${size}:${mtimeNs}:${ctimeNs}\n`;
}
