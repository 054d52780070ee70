import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rename, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from './gateway-process.js';

const run = promisify(execFile);
/** Packages that users of the client have installed. */
const LINKED_PACKAGES = ['react', 'react-dom', '@types/react', '@types/react-dom', '@types/node', 'vite', 'ws'];

/** Installs into the directory, like `npm install`: the client as published, and React. */
export async function installClient(directory: string): Promise<void> {
  const types = join(ROOT, 'client', 'dist', 'types');
  if (!existsSync(types)) throw new Error('client/dist is missing: run `npm run build` first');
  const modules = join(directory, 'node_modules');
  await mkdir(modules, { recursive: true });
  const pack = ['pack', '--silent', '--ignore-scripts', '--pack-destination', directory];
  const { stdout } = await run('npm', pack, { cwd: join(ROOT, 'client') });
  await run('tar', ['-xzf', join(directory, stdout.trim()), '-C', modules]);
  await rename(join(modules, 'package'), join(modules, 'tallycast-client'));
  for (const name of LINKED_PACKAGES) {
    const link = join(modules, name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(join(ROOT, 'node_modules', name), link);
  }
}
