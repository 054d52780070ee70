// Writes a .gz beside each file of the given folders that gzip makes smaller; src/http/static-files.ts serves it.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, gzipSync } from 'node:zlib';

const TEXTS = /\.(js|css|html|svg|json|map|md|txt)$/;

for (const folder of process.argv.slice(2)) {
  const names = readdirSync(folder, { recursive: true });
  for (const name of names.filter((one) => one.endsWith('.gz'))) rmSync(join(folder, name));
  for (const name of names.filter((one) => TEXTS.test(one))) {
    const bytes = readFileSync(join(folder, name));
    const packed = gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION });
    if (packed.length < bytes.length) writeFileSync(join(folder, `${name}.gz`), packed);
  }
}
