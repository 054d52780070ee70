// Bundles the compiled server and its packages into a few files in dist/. Loading some 2,000 small files would take more
// than half of a boot's time, and the package then depends only on packages with native code (docs/decisions/0020).
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { build } from 'vite';

const { resolve: locate } = createRequire(import.meta.url);
const NATIVE = ['lmdb', 'fs-native-extensions'];
/** NestJS and pg try to import these and work without them. */
const OPTIONAL = [
  ...['@nestjs/microservices', 'class-transformer', 'class-validator', 'file-type'],
  ...['bufferutil', 'utf-8-validate', 'pg-native'],
];
/** The files of Swagger UI that /docs serves, with their licences. */
const DOCS_FILES = [
  ...['index.html', 'index.css', 'swagger-ui.css', 'swagger-ui-bundle.js', 'swagger-ui-standalone-preset.js'],
  ...['favicon-16x16.png', 'favicon-32x32.png', 'oauth2-redirect.html'],
  ...['LICENSE', 'NOTICE', 'swagger-ui-bundle.js.LICENSE.txt', 'swagger-ui-standalone-preset.js.LICENSE.txt'],
];

await build({
  configFile: false,
  logLevel: 'warn',
  // Express, Multer, Socket.IO and Engine.IO have a copy of this table each, which takes 5 ms of a boot.
  resolve: { alias: { 'mime-db': locate('mime-db') } },
  ssr: { noExternal: true, external: [...NATIVE, ...OPTIONAL], target: 'node' },
  build: {
    ssr: true,
    outDir: 'dist',
    emptyOutDir: false,
    target: 'node20',
    minify: false,
    license: { fileName: 'third-party-licenses.md' },
    rolldownOptions: {
      input: { run: 'build/cli/run.js', 'data-check-process': 'build/store/embedded/disk/data-check-process.js' },
      output: {
        // The code that starts the check of a data file expects it beside itself.
        entryFileNames: ({ name }) => (name === 'run' ? '[name].js' : 'chunks/[name].js'),
        chunkFileNames: 'chunks/[name].js',
      },
    },
  },
});

const entry = readFileSync('build/main.js', 'utf8').replace('./cli/run.js', './run.js');
writeFileSync('dist/main.js', entry.replace(/\n(export \{\};|\/\/# sourceMappingURL=.*)$/gm, ''));
chmodSync('dist/main.js', 0o755);
for (const folder of ['src/store/redis/scripts', 'src/log/redis/scripts']) {
  for (const file of readdirSync(folder, { recursive: true })) {
    if (file.endsWith('.lua')) cpSync(join(folder, file), join('dist/chunks', file));
  }
}

const swaggerUi = dirname(locate('swagger-ui-dist/package.json'));
mkdirSync('dist/docs', { recursive: true });
for (const file of DOCS_FILES) cpSync(join(swaggerUi, file), join('dist/docs', file));
