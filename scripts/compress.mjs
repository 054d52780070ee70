// Writes a .br and a .gz beside each file of the given folders, if that is smaller; src/http/static-files.ts serves them.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const TEXTS = /\.(js|css|html|svg|json|map|md|txt)$/;
const COMPRESSORS = {
  // Brotli's default level is its highest.
  '.br': (bytes) => brotliCompressSync(bytes),
  '.gz': (bytes) => gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION }),
};

for (const folder of process.argv.slice(2)) {
  const names = readdirSync(folder, { recursive: true });
  for (const name of names.filter((one) => /\.(br|gz)$/.test(one))) rmSync(join(folder, name));
  for (const name of names.filter((one) => TEXTS.test(one))) {
    const bytes = readFileSync(join(folder, name));
    for (const [ending, compress] of Object.entries(COMPRESSORS)) {
      const packed = compress(bytes);
      if (packed.length < bytes.length) writeFileSync(join(folder, name + ending), packed);
    }
  }
}
