// Some registries serve the optional packages of some platforms only. Then npm leaves the others out of package-lock.json,
// and `npm ci` rejects the lock. This adds the missing entries, with the version from the parent and the platform from the
// package's name. Run it after an `npm install`: node scripts/complete-lock.mjs
import { readFileSync, writeFileSync } from 'node:fs';

const PLATFORM =
  /(darwin|linux|win32|freebsd|android|openharmony|wasm32)(?:-(arm64|arm|x64|ia32|ppc64|s390x|riscv64|loong64|wasi))?(?:-(gnu|musl))?/;
const LIBC = { gnu: 'glibc', musl: 'musl' };

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
let added = 0;
for (const [path, parent] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const nested = `${path === '' ? '' : `${path}/`}node_modules/${name}`;
    if (nested in lock.packages || `node_modules/${name}` in lock.packages) continue;
    const platform = PLATFORM.exec(name);
    if (platform === null) throw new Error(`${name} is missing from the lock, and its name contains no platform`);
    const [, os, cpu, libc] = platform;
    const wasm = os === 'wasm32';
    lock.packages[`node_modules/${name}`] = {
      version: version.replace(/^[\^~]/, ''),
      ...(wasm ? { cpu: ['wasm32'] } : cpu && { cpu: [cpu] }),
      ...(parent.dev && { dev: true }),
      ...(libc && os === 'linux' && !cpu?.startsWith('arm-') && { libc: [LIBC[libc]] }),
      optional: true,
      ...(!wasm && { os: [os] }),
    };
    added += 1;
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`${added} entries added\n`);
