import { fileURLToPath } from 'node:url';
import { defineConfig, type EnvironmentOptions, type Plugin } from 'vite';

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
/** The modules that work without the address of their file. */
const modules = {
  index: at('src/live-counts.ts'),
  http: at('src/live-counts-http.ts'),
  react: at('src/react.ts'),
};
const withReact = {
  external: ['react'],
  // Frameworks that render on servers need 'use client' of react.ts, which stays at the top of its module.
  checks: { moduleLevelDirective: false },
};
const names = { entryFileNames: '[name].js', chunkFileNames: 'shared/[name].js' };

/** `require` takes the files of a folder for CommonJS, with their types, if its package.json says so. */
const markCommonJs: Plugin = {
  name: 'mark-common-js',
  generateBundle({ format }) {
    if (format === 'cjs')
      this.emitFile({ type: 'asset', fileName: 'package.json', source: '{ "type": "commonjs" }\n' });
  },
};

/** Writes the style sheet of the widgets without white space, which minifiers keep in a text. */
const compactStyles: Plugin = {
  name: 'compact-styles',
  transform(code, id) {
    if (!/\/widgets\/(milestone-)?styles\.ts$/.test(id)) return undefined;
    const compact = (css: string): string =>
      css.replace(/\s*\n\s*/g, '').replace(/([:;,]) | (?=\{)|(?<=\{) |;? ?(?=\})/g, '$1');
    // The source map stays right for all but the lines of the style sheet.
    return { code: code.replace(/`[^`]*`/, compact), map: null };
  },
};

/** Stands for the import of the milestones while Vite analyses the modules, as long as it is, so that source maps stay right. */
const IMPORT = '__importTheMilestone()';

/**
 * Keeps the import of the milestones as it is: a file of its own for the script and for the modules. Vite would wrap the import into
 * 700 bytes that preload style sheets, of which there are none.
 */
const plainImport: Plugin = {
  name: 'plain-import',
  transform(code, id) {
    if (!id.endsWith('/widgets/live-milestone.ts')) return undefined;
    return { code: code.replace(/import\(["']\.\/milestone\.js["']\)/, IMPORT), map: null };
  },
  renderChunk(code, { fileName }) {
    if (!code.includes(IMPORT)) return null;
    const path = fileName.startsWith('shared/') ? '../milestone.js' : './milestone.js';
    return { code: code.replace(IMPORT, `import('${path}')`), map: null };
  },
};

/** A build of one file. */
function toScript(name: string, entry: string): EnvironmentOptions {
  const output = [at('dist'), at('../dist/client')].map((dir) => ({ ...names, dir }));
  const rolldownOptions = { input: { [name]: at(entry) }, output };
  return { consumer: 'client', build: { emptyOutDir: false, rolldownOptions } };
}

/**
 * Four builds of the same source. The modules of the package share chunks, and leave React to the page; those for
 * `require` leave out the widgets, which need the address of their file. `tallycast.js` has the widgets with everything in
 * one file, but for the milestones: both are in the package, and in dist/client, which the gateway serves.
 */
export default defineConfig({
  root: at('.'),
  logLevel: 'warn',
  plugins: [compactStyles, markCommonJs, plainImport],
  builder: {},
  environments: {
    client: {
      build: {
        emptyOutDir: true,
        rolldownOptions: {
          input: {
            ...modules,
            widgets: at('src/widgets.ts'),
            'widgets-http': at('src/widgets/http.ts'),
          },
          ...withReact,
          output: names,
        },
      },
    },
    commonJs: {
      consumer: 'client',
      build: {
        outDir: at('dist/cjs'),
        rolldownOptions: { input: modules, ...withReact, output: { ...names, format: 'cjs' } },
      },
    },
    script: toScript('tallycast', 'src/widgets.ts'),
    milestone: toScript('milestone', 'src/widgets/milestone.ts'),
  },
  build: {
    outDir: at('dist'),
    target: 'es2022',
    sourcemap: true,
    modulePreload: false,
    rolldownOptions: { preserveEntrySignatures: 'strict' },
  },
});
