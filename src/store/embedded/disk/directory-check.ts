import { spawn } from 'node:child_process';
import { closeSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { dataDirectoryError } from './data-directory.js';
import { ADVICE, DAMAGED } from './lmdb-file-check.js';
import { DATA_FILE, isUnchangedSinceClose, isOpenToOthers, lockDirectory, markClosed } from './directory-files.js';

/** The file is beside this one, also where both are bundled. */
const CHECK_PROCESS = join(import.meta.dirname, 'data-check-process.js');
/** From this size on the check takes seconds, so a log line says why the boot waits. */
const LARGE_BYTES = 2 ** 30;
/** Signals that kill a process whose LMDB reads a damaged or missing page. */
const DEATHS: ReadonlySet<string> = new Set(['SIGSEGV', 'SIGBUS', 'SIGABRT', 'SIGILL', 'SIGFPE']);
const LINE_MAX = 1_000;

/**
 * Checks a data directory before it is opened. A data file that was copied, restored, or not closed by a gateway is read in a process
 * of its own first, because LMDB kills its process when it reads a damaged one. That takes a fifth of a second, and one to two seconds
 * a gigabyte. It is skipped where the file is as the last gateway closed it.
 *
 * @param warn called with each warning for the operator, one line
 * @throws Error of one line that says what is wrong with the directory and what would be right
 */
export async function checkDirectory(path: string, warn: (message: string) => void): Promise<void> {
  let lock: number | undefined;
  try {
    lock = lockDirectory(path);
    const data = statSync(join(path, DATA_FILE), { throwIfNoEntry: false });
    if (data !== undefined && !isUnchangedSinceClose(path)) {
      if (data.size >= LARGE_BYTES) {
        const gigabytes = (data.size / 2 ** 30).toFixed(1);
        warn(`DATA_DIR ${path}: checking ${DATA_FILE} (${gigabytes} GiB), which no gateway has closed here`);
      }
      await checkInChild(path);
      markClosed(path);
    }
    if (isOpenToOthers(path)) warn(`DATA_DIR ${path}: other users of this machine may read it; run chmod go= ${path}`);
  } catch (error) {
    throw dataDirectoryError(path, error);
  } finally {
    if (lock !== undefined) closeSync(lock);
  }
}

function checkInChild(path: string): Promise<void> {
  const child = spawn(process.execPath, [CHECK_PROCESS, path], { stdio: ['ignore', 'pipe', 'ignore'] });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  let line = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (line = (line + text).slice(0, LINE_MAX)));
  return new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else if (line !== '') reject(new Error(line));
      else if (DEATHS.has(signal ?? ''))
        reject(new Error(`its data file ${DATA_FILE} ${DAMAGED} (${signal}); ${ADVICE}`));
      else reject(new Error(`its data file ${DATA_FILE} could not be checked: the check ended by ${signal ?? code}`));
    });
  }).finally(() => process.off('exit', kill));
}
