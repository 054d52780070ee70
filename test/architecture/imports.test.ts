import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { ROOT } from '../support/gateway-process.js';

const CRUISER = join(ROOT, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');

/** @returns the rules that a project of these files breaks, one entry a file and rule */
function findBrokenRules(files: Record<string, string>): string[] {
  const project = mkdtempSync(join(tmpdir(), 'tallycast-imports-'));
  try {
    for (const shared of ['.dependency-cruiser.cjs', 'tsconfig.json', 'package.json']) {
      cpSync(join(ROOT, shared), join(project, shared));
    }
    symlinkSync(join(ROOT, 'node_modules'), join(project, 'node_modules'));
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(join(project, dirname(path)), { recursive: true });
      writeFileSync(join(project, path), text);
    }
    // The exit code is the number of violations; the output lists them.
    const script = `"${process.execPath}" ${CRUISER} --output-type json src || true`;
    const options = { cwd: project, encoding: 'utf8', maxBuffer: 64 * 2 ** 20 } as const;
    const output = JSON.parse(execFileSync('bash', ['-c', script], options)) as {
      summary: { violations: { rule: { name: string }; from: string }[] };
    };
    return output.summary.violations.map(({ rule, from }) => `${from} ${rule.name}`).sort();
  } finally {
    rmSync(project, { recursive: true, force: true });
  }
}

// `npm run check` applies the rules to the project itself.
test('the rules for imports find each import against the allowed direction', () => {
  const rules = findBrokenRules({
    'src/main.ts': "export * from './counters/planted.js';\nexport * from './store/disk/store.js';\n",
    'src/counters/planted.ts': "export { Ingest } from '../ingest/ingest.js';\n",
    'src/ingest/ingest.ts': "export { Store } from '../store/disk/store.js';\nexport const Ingest = 1;\n",
    'src/store/disk/store.ts': "import '@nestjs/common';\nexport const Store = 1;\n",
    'src/store/alone.ts': 'export const alone = 1;\n',
  });
  expect(rules).toEqual([
    'src/counters/planted.ts counters-imports-lower-layers',
    'src/ingest/ingest.ts edges-know-the-ports-alone',
    'src/store/alone.ts no-orphans',
    'src/store/disk/store.ts nest-only-at-the-edges',
  ]);
});
