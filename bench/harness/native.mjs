/** The C programs of bench/native: compiled at first use and cached until a source changes. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './servers.mjs';

const SOURCES = join(ROOT, 'bench', 'native');

/**
 * Compiles bench/native/NAME.c.
 *
 * @returns the path of the program
 * @throws Error of one line if there is no compiler; with the compiler's output if it fails
 */
export function compiled(name) {
  const hash = createHash('sha256');
  for (const file of readdirSync(SOURCES).sort()) {
    if (file.endsWith('.h') || file === `${name}.c`) hash.update(file).update(readFileSync(join(SOURCES, file)));
  }
  const cache = join(tmpdir(), `tallycast-bench-native-${userInfo().uid}`);
  const program = join(cache, `${name}-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(program)) return program;
  mkdirSync(cache, { recursive: true, mode: 0o700 });
  const unfinished = `${program}.${process.pid}`;
  const args = [
    '-O2',
    '-std=gnu11',
    '-Wall',
    '-Wextra',
    '-o',
    unfinished,
    join(SOURCES, `${name}.c`),
    '-lm',
    '-pthread',
  ];
  const { error, status, stderr } = spawnSync('cc', args, { encoding: 'utf8' });
  if (error !== undefined) {
    throw new Error(
      'no C compiler: install one (Debian, Ubuntu: apt-get install gcc libc6-dev; macOS: brew install gcc)',
    );
  }
  if (status !== 0) throw new Error(`cc ${name}.c:\n${stderr}`);
  renameSync(unfinished, program);
  return program;
}
